"""Draw the curves of a training run: losses and their running means, learning rate, validation mAP against epochs.

    python experiments/plot_curves.py output/.../PREFIX-log.jsonl curves.png

The training loop writes one JSON object per line, epochs counted from 1:

    {"type": "train", "epoch": 1, "step": 20, "lr": 0.01, "images_per_s": 80.1, "RPNLogLoss": 0.42, ...}
    {"type": "val", "epoch": 1, "mAP@0.5": 0.31, ...}
"""
import sys
from pathlib import Path

if __package__ in (None, ''):
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a file: the project's folder

import json
import logging
import math
from collections import Counter, defaultdict

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lib.errors import DatasetError
from lib.utils.limits import open_input
from lib.utils.whole_file import check_not_read, save_whole
from rfcn.cli.script import make_parser, run_script

LOGGER = logging.getLogger(__name__)

SMOOTHING = 20  # running means are over the latest 20th of the records


def read_records(path):
    """The JSON objects of a file, one a line. Other lines, such as a killed run leaves half-written, are skipped.

    Raises a DatasetError if there are only such lines.
    """
    records, skipped = [], 0
    with open_input(path, 'r', encoding='utf-8', errors='replace') as lines:
        for line in filter(str.strip, lines):
            try:
                record = json.loads(line)
            except ValueError:
                record = None
            if isinstance(record, dict):
                records.append(record)
            else:
                skipped += 1
    if skipped and not records:
        raise DatasetError('%s: expected JSON lines, as training writes into <prefix>-log.jsonl; found none' % path)
    if skipped:
        LOGGER.warning('%s: skipped %d lines that are not JSON objects', path, skipped)
    return records


def latest(records, kind):
    """Records of a type, ordered by epoch and step; of those for one epoch and step, the last: a resumed run counts."""
    found = {(r['epoch'], r.get('step', 0)): r for r in records if r.get('type') == kind and 'epoch' in r}
    return [found[key] for key in sorted(found)]


def is_number(value):
    """Whether a value can be drawn: a finite number."""
    return isinstance(value, (int, float)) and math.isfinite(value)


def training_curves(records, chosen=lambda name: name.endswith('Loss')):
    """Losses, or other values of the training records, against epochs.

    The records of an epoch are spread evenly over it, as many to an epoch as the fullest one has.

    Args:
        chosen: name of a value -> whether it is wanted.
    Returns:
        dict: name -> (epochs done, values), two lists of one length.
    """
    train = latest(records, 'train')
    per_epoch = max(Counter(r['epoch'] for r in train).values(), default=1)
    curves, seen = defaultdict(lambda: ([], [])), Counter()
    for record in train:
        seen[record['epoch']] += 1
        for name, value in record.items():
            if chosen(name) and is_number(value):
                curves[name][0].append(record['epoch'] - 1 + seen[record['epoch']] / per_epoch)
                curves[name][1].append(value)
    return dict(curves)


def validation_curves(records):
    """dict: name of a mean AP ('mAP@0.5') -> (epochs done, values). A score stands at the end of its epoch.

    Means by the other of VOC's two metrics ('mAP_07@0.5') are left out.
    """
    curves = defaultdict(lambda: ([], []))
    for record in latest(records, 'val'):
        for name, value in record.items():
            if name.startswith('mAP@') and is_number(value):
                curves[name][0].append(record['epoch'])
                curves[name][1].append(value)
    return dict(curves)


def smoothed(values):
    """Running means over a twentieth of the values: list of the same length."""
    window = max(1, len(values) // SMOOTHING)
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - window)
    sums = np.cumsum([0.0] + values)
    return ((sums[ends] - sums[starts]) / (ends - starts)).tolist()


def draw_losses(axes, losses):
    """The losses as faint lines, their running means as strong ones."""
    for name, (epochs, values) in sorted(losses.items()):
        line, = axes.plot(epochs, smoothed(values), label=name)
        axes.plot(epochs, values, linewidth=0.5, alpha=0.3, color=line.get_color())
    axes.set(title='training losses and their running means', xlabel='epochs', xlim=(0, None), ylim=(0, None))


def draw_rate(axes, rates):
    """The learning rate, on a logarithmic scale of its own at the right.

    A record has the rate of the steps that follow it.
    """
    epochs, values = rates
    right = axes.twinx()
    right.step([0] + epochs, values[:1] + values, where='post', color='black', linewidth=1, linestyle=':',
               label='learning rate')
    right.set(yscale='log', ylabel='learning rate (dotted)')
    axes.set(zorder=right.get_zorder() + 1, facecolor='none')   # the legend lies over the dotted line


def draw_scores(axes, scores):
    """Each mean AP of the validations, with its last value."""
    for name, (epochs, values) in sorted(scores.items()):
        line, = axes.plot(epochs, values, label=name, marker='o', markersize=4)
        axes.annotate('{:.3f}'.format(values[-1]), (epochs[-1], values[-1]), textcoords='offset points', xytext=(0, 5),
                      ha='right', color=line.get_color())
    axes.set(title='validation', xlabel='epochs', xlim=(0, None), ylim=(0, 1))


def plot_curves(jsonl_path, out_png):
    """Draw the losses, the learning rate and the validation mAP of a run to a png.

    Args:
        jsonl_path: the run's file of JSON lines.
        out_png: path of the picture.
    Raises:
        FileNotFoundError: there is no such file of JSON lines.
        DatasetError: it has other lines, or pictures have no such ending.
        UserError: both paths are of one file.
    """
    kind, known = Path(out_png).suffix[1:] or 'png', FigureCanvasAgg.get_supported_filetypes()
    if kind not in known:
        raise DatasetError('%s: expected the name of a picture, ending in .%s' % (out_png, ', .'.join(sorted(known))))
    check_not_read([out_png], [jsonl_path])
    records = read_records(jsonl_path)
    losses, rates, scores = training_curves(records), training_curves(records, 'lr'.__eq__), validation_curves(records)
    panels = 2 if scores else 1
    figure = Figure(figsize=(5.5 * panels, 4), tight_layout=True)
    FigureCanvasAgg(figure)  # draws without a screen and leaves the caller's backend alone
    axes = figure.subplots(1, panels, squeeze=False)[0]
    draw_losses(axes[0], losses)
    if any(rate > 0 for rate in rates.get('lr', ((), ()))[1]):
        draw_rate(axes[0], rates['lr'])
    if scores:
        draw_scores(axes[1], scores)
    for panel, curves in zip(axes, (losses, scores)):
        panel.grid(alpha=0.3)
        if curves:
            panel.legend(loc='best', fontsize='small', framealpha=1)
        else:
            panel.text(0.5, 0.5, 'nothing recorded yet', ha='center', va='center', transform=panel.transAxes)
    save_whole([out_png], lambda temporary: figure.savefig(temporary, dpi=100, format=kind))


def main(argv=None):
    """Entry point."""
    parser = make_parser(__doc__)
    parser.add_argument('jsonl_path', help='file of JSON lines that the training loop wrote')
    parser.add_argument('out_png', help='picture to write')
    plot_curves(**vars(parser.parse_args(argv)))


if __name__ == '__main__':
    run_script(main)
