"""Training metrics in files that other programs draw while the training runs: CSV files and TensorBoard's events.

    PREFIX-curves/train.csv     step, epoch, losses, learning rate, images per second, memory of the process
    PREFIX-curves/val.csv       step, epoch and the metrics of each validation
    PREFIX-curves/events.*      the same, and pictures of the detections on some validation images, where tensorboardX
                                or tensorboard is installed:    tensorboard --logdir output

A resumed run continues these files. `PREFIX-log.jsonl` holds the numbers as well; resuming reads that file alone.
"""
import csv
import importlib
import logging
import os
import time

import cv2

from lib.errors import error_line
from lib.utils import memory
from lib.utils.limits import open_input
from lib.utils.whole_file import end_line, naming

logger = logging.getLogger(__name__)

# package -> its modules of event files and of their two messages
_WRITERS = {
    'tensorboardX': ('tensorboardX.event_file_writer', 'tensorboardX.proto.event_pb2',
                     'tensorboardX.proto.summary_pb2'),
    'tensorboard': ('tensorboard.summary.writer.event_file_writer', 'tensorboard.compat.proto.event_pb2',
                    'tensorboard.compat.proto.summary_pb2'),
}
PLACES = ('type', 'step', 'epoch')      # of a line; all other entries are numbers to draw


class Curves:
    """Takes the lines of a training's log.

    Args:
        folder: of the files; made when the first line comes.
    """

    def __init__(self, folder):
        self.folder = folder
        self._columns = {}          # kind of line -> columns of its CSV file
        self._events = None

    def add(self, line):
        """Write a line: a dict with `type` ('train' or 'val'), `step`, `epoch` and numbers; None where there is none.

        Raises:
            OSError: a file cannot be written.
        """
        numbers = {name: value for name, value in line.items() if name not in PLACES}
        if line['type'] == 'train':
            numbers['memory_gb'] = round(memory.resident() * memory.MEGABYTE / 1e9, 3)
        self._add_csv(line['type'], dict({'step': line['step'], 'epoch': line['epoch']}, **numbers))
        values = {'%s/%s' % (line['type'], name): value for name, value in numbers.items() if value is not None}
        self._add_event(line['step'], [dict(tag=tag, simple_value=float(value)) for tag, value in values.items()])

    def add_pictures(self, step, pictures):
        """Show pictures, (name, (H, W, 3) uint8 BGR) each, in TensorBoard."""
        self._add_event(step, [dict(tag='detections/' + name, image=dict(
            height=im.shape[0], width=im.shape[1], colorspace=3,
            encoded_image_string=cv2.imencode('.jpg', im)[1].tobytes())) for name, im in pictures])

    def close(self):
        """Close the file of events."""
        if self._events:
            self._events[0].close()
            self._events = None

    def _add_csv(self, kind, row):
        path = os.path.join(self.folder, kind + '.csv')
        if not os.path.isdir(self.folder):
            with naming([path], [self.folder]):
                os.mkdir(self.folder)       # never with the run's own folder, which may have been deleted
        if kind not in self._columns:
            self._columns[kind] = _header(path)
        with naming([path]), open(path, 'a', newline='', encoding='utf-8') as file:
            writer = csv.writer(file)
            if not self._columns[kind]:
                self._columns[kind] = list(row)
                writer.writerow(self._columns[kind])
            writer.writerow([row.get(name) for name in self._columns[kind]])

    def _add_event(self, step, values):
        if self._events is None:
            self._events = _open_events(self.folder)
        if self._events and values:
            writer, event, summary = self._events
            writer.add_event(event(wall_time=time.time(), step=step, summary=summary(
                value=[summary.Value(**dict(value, image=summary.Image(**value['image']))) if 'image' in value
                       else summary.Value(**value) for value in values])))
            writer.flush()      # so that a killed run leaves what it has logged


def _header(path):
    """The columns of a file of an earlier run, which is made ready to go on; () where there is none."""
    try:
        with open_input(path, 'r', newline='', encoding='utf-8') as file:
            line = file.readline()
    except FileNotFoundError:
        return ()
    if not line.endswith('\n'):     # that run was killed while it wrote the header
        os.truncate(path, 0)
        return ()
    end_line(path)
    return next(csv.reader([line]))


def _open_events(folder):
    """A writer of TensorBoard's event files and its two messages; () where no package for it is installed."""
    for package, modules in _WRITERS.items():
        try:
            writer, event, summary = map(importlib.import_module, modules)
        except ModuleNotFoundError:
            continue
        except Exception as error:      # a package that does not suit another one can fail in any way
            logger.warning('%s cannot be imported, so that it writes no events: %s: %s', package, type(error).__name__,
                           error_line(error))
        else:
            return writer.EventFileWriter(folder), event.Event, summary.Summary
    return ()
