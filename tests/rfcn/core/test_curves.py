"""CSV files and TensorBoard's events of a training."""
import csv
import shutil

import cv2
import numpy as np
import pytest

from rfcn.core import curves
from rfcn.core.curves import Curves

TRAIN = {'type': 'train', 'step': 20, 'epoch': 1, 'lr': 0.01, 'RPNAcc': 0.9, 'images_per_s': 5.0}
VAL = {'type': 'val', 'step': 40, 'epoch': 1, 'mAP@0.5': 0.25, 'AP@0.5/a,"b': None}
NO_WRITER = {'tensorboardX': ('no.such.package',) * 3}


def rows(path):
    return list(csv.reader(open(str(path), newline='')))


def test_each_kind_of_line_has_a_file_and_a_run_that_goes_on_continues_it(tmp_path, monkeypatch):
    monkeypatch.setattr(curves, '_WRITERS', NO_WRITER)
    monkeypatch.setattr(curves.memory, 'resident', lambda: 1.5e9 / 2 ** 20)     # in megabytes
    for line in (TRAIN, dict(TRAIN, step=30)):
        run = Curves(str(tmp_path / 'x-curves'))
        run.add(line)
        run.add(VAL)
        run.add_pictures(40, [('a', np.zeros((4, 4, 3), dtype=np.uint8))])
        run.close()
    assert rows(tmp_path / 'x-curves' / 'train.csv') == [
        ['step', 'epoch', 'lr', 'RPNAcc', 'images_per_s', 'memory_gb'],
        ['20', '1', '0.01', '0.9', '5.0', '1.5'], ['30', '1', '0.01', '0.9', '5.0', '1.5']]
    assert rows(tmp_path / 'x-curves' / 'val.csv') == [['step', 'epoch', 'mAP@0.5', 'AP@0.5/a,"b']] \
        + 2 * [['40', '1', '0.25', '']]
    assert sorted(path.name for path in (tmp_path / 'x-curves').iterdir()) == ['train.csv', 'val.csv']


@pytest.mark.parametrize('cut', [3, 25, 60], ids=['in the header', 'in another column of it', 'in the first line'])
def test_a_file_that_was_cut_within_a_line_gets_whole_lines_after_it(tmp_path, monkeypatch, cut):
    monkeypatch.setattr(curves, '_WRITERS', NO_WRITER)
    path = tmp_path / 'train.csv'
    Curves(str(tmp_path)).add(TRAIN)
    path.write_bytes(path.read_bytes()[:cut])
    Curves(str(tmp_path)).add(dict(TRAIN, step=30))
    header, *lines = rows(path)
    assert header == ['step', 'epoch', 'lr', 'RPNAcc', 'images_per_s', 'memory_gb']
    assert lines[-1][:3] == ['30', '1', '0.01'] and len(lines) == (2 if cut == 60 else 1)


def test_a_package_that_is_broken_ends_no_training(tmp_path, monkeypatch, caplog):
    (tmp_path / 'too_old.py').write_text('raise TypeError("Descriptors cannot be created directly")')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(curves, '_WRITERS', {'too_old': ('too_old',) * 3})
    run = Curves(str(tmp_path / 'x-curves'))
    for line in TRAIN, VAL:
        run.add(line)
    assert len(rows(tmp_path / 'x-curves' / 'train.csv')) == 2
    assert caplog.messages == ['too_old cannot be imported, so that it writes no events: TypeError: Descriptors '
                               'cannot be created directly']


def test_no_line_makes_no_folder(tmp_path):
    Curves(str(tmp_path / 'x-curves')).close()
    assert not list(tmp_path.iterdir())


def test_a_folder_of_a_run_that_was_deleted_is_not_made_anew(tmp_path):
    curves = Curves(str(tmp_path / 'run' / 'tiny-curves'))
    (tmp_path / 'run').mkdir()
    curves.add({'type': 'val', 'step': 1, 'epoch': 1})
    shutil.rmtree(str(tmp_path / 'run'))
    with pytest.raises(OSError, match='val.csv could not be written: the folder .*tiny-curves is not there. Was'):
        curves.add({'type': 'val', 'step': 2, 'epoch': 2})
    assert not (tmp_path / 'run').exists()


def test_a_row_follows_the_columns_that_the_file_has(tmp_path, monkeypatch):
    monkeypatch.setattr(curves, '_WRITERS', NO_WRITER)
    (tmp_path / 'val.csv').write_text('epoch,other,mAP@0.5\n')
    Curves(str(tmp_path)).add(VAL)
    assert rows(tmp_path / 'val.csv') == [['epoch', 'other', 'mAP@0.5'], ['1', '', '0.25']]


def read_events(path):
    """The events of a file in TensorBoard's format: length, its checksum, the event, its checksum."""
    from tensorboardX.proto.event_pb2 import Event
    data, events = path.read_bytes(), []
    while data:
        length = int.from_bytes(data[:8], 'little')
        events.append(Event.FromString(data[12:12 + length]))
        data = data[16 + length:]
    return events


def test_tensorboard_gets_the_numbers_and_pictures_before_the_run_ends(tmp_path):
    pytest.importorskip('tensorboardX', reason='tensorboardX is not installed: pip install tensorboardX')
    run = Curves(str(tmp_path))
    run.add(TRAIN)
    run.add(VAL)
    run.add_pictures(40, [('wide', np.full((6, 8, 3), (200, 0, 0), dtype=np.uint8))])
    path, = tmp_path.glob('events.*')
    for _ in range(2):      # flushed already; closing adds nothing
        events = [event for event in read_events(path) if event.summary.value]
        values = {value.tag: (event.step, value) for event in events for value in event.summary.value}
        run.close()
    step, value = values['train/RPNAcc']
    assert step == 20 and abs(value.simple_value - 0.9) < 1e-6 and values['train/memory_gb'][1].simple_value > 0.01
    assert values['val/mAP@0.5'][0] == 40 and 'val/AP@0.5/a,"b' not in values
    step, value = values['detections/wide']
    picture = cv2.imdecode(np.frombuffer(value.image.encoded_image_string, np.uint8), cv2.IMREAD_COLOR)
    assert step == 40 and picture.shape == (6, 8, 3) and abs(int(picture[0, 0, 0]) - 200) < 10
