"""The paper's main claims on the demo's data set, small enough for a CPU: variants, several seeds, mean and spread.

    python experiments/ablation.py [--epochs 2] [--seeds 3] [--images 800] [--only bf16] [--out FOLDER] [KEY=VALUE ...]

Every variant changes one thing of the demo (experiments/demo/demo.yaml: R-FCN, k = 3, conv5 a trous, OHEM) and has the
same data, epochs and learning rate; a seed decides the first weights and the order of the images. Writes results.json,
ablation.md and ablation.png; what is in results.json is not trained again.
"""
import json
import logging
import sys
from pathlib import Path

if __package__ in (None, ''):
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a file: the project's folder

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.demo.make_dataset import make_dataset
from lib.errors import UserError
from rfcn import build, test
from rfcn.collect_env import git_revision
from rfcn.command_line import log_to
from rfcn.config.config import load_config, with_overrides
from rfcn.checkpoints.checkpoint import params_path
from rfcn.result import machine
from rfcn.script import make_parser, run_script
from rfcn.train_end2end import train_net

logger = logging.getLogger('rfcn')

DEMO = Path(__file__).resolve().parent / 'demo' / 'demo.yaml'
BASE = 'R-FCN, k = 3, a trous, OHEM'
VARIANTS = {
    BASE: {},
    'k = 1': {'network.POOLED_SIZE': 1},
    'conv5 at stride 32': {'network.CONV5': 'stride32', 'network.RCNN_FEAT_STRIDE': 32},
    'no OHEM': {'TRAIN.ENABLE_OHEM': False},
    'naive Faster R-CNN, RoI output 3x3': {'symbol': 'small_naive_rcnn'},
    'bf16 convolutions': {'TRAIN.PRECISION': 'bf16'},  # not of the paper: what faster training on a CPU costs
}
# What the paper says about the same step, from the variant to the base: mAP on VOC07, ResNet-101.
PAPER = {'k = 1': 'fails -> 75.5', 'conv5 at stride 32': '74.0 -> 76.6', 'no OHEM': '76.6 -> 79.5',
         'naive Faster R-CNN, RoI output 3x3': '68.9 (7x7) -> 76.6'}
METRICS = ('mAP@0.5', 'mAP@0.7')
CAVEAT = '''Mean and standard deviation of %d seeds; %s.

A narrow network from scratch for a few epochs on rendered things of 24 to 90 pixels, %d test images: this shows
which way a choice pulls here. It cannot show how much it matters for ResNet-101 on photographs, and a
difference near the spread of the seeds shows nothing.'''


def variant_config(variant, seed, epochs, data, overrides=()):
    """The demo's configuration with the changes of a variant; the rate drops for the last quarter.

    Without OHEM as many RoIs an image train as OHEM chooses, drawn at random, a quarter of them objects at most.
    """
    cfg = load_config(DEMO, overrides)
    variant_changes = dict(VARIANTS[variant])
    if variant_changes.get('TRAIN.ENABLE_OHEM') is False:
        variant_changes['TRAIN.BATCH_ROIS'] = cfg.TRAIN.BATCH_ROIS_OHEM * cfg.TRAIN.BATCH_IMAGES
    changes = {'seed': seed, 'TRAIN.end_epoch': epochs, 'TRAIN.lr_step': [0.75 * epochs], 'TRAIN.EVAL_PERIOD': 0,
               'TRAIN.CHECKPOINT_PERIOD': epochs, 'dataset.dataset_path': str(data), 'dataset.val_image_set': ''}
    return with_overrides(build.with_classes(with_overrides(cfg, changes)), variant_changes)


def run(variant, seed, cfg, folder):
    """Train and test once. Returns a dict: variant, seed, metrics."""
    folder.mkdir(parents=True, exist_ok=True)
    prefix = train_net(cfg, folder)
    evaluation = test.test_rcnn(cfg, folder, params_path(prefix, cfg.TRAIN.end_epoch), ignore_cache=True)
    return dict(variant=variant, seed=seed, **{name: evaluation.metrics[name] for name in METRICS})


def chosen(text):
    """The numbers and names of the variants whose name contains a text, and of the base that they are held against."""
    found = [(number, name) for number, name in enumerate(VARIANTS) if name == BASE or text in name]
    if len(found) == 1:
        raise UserError('no variant has %r in its name; there are: %s' % (text, '; '.join(list(VARIANTS)[1:])))
    return found


def run_all(args, note):
    """The chosen variants with every seed; results.json grows with each run, and keeps those of the same note."""
    variants = chosen(args.only)
    path = args.out / 'results.json'
    kept = json.loads(path.read_text()) if path.is_file() else {}
    results = kept['results'] if kept.get('note') == note else []
    for seed in range(args.seeds):
        for number, variant in variants:
            if not any(result['variant'] == variant and result['seed'] == seed for result in results):
                cfg = variant_config(variant, seed, args.epochs, args.out / 'data', args.overrides)
                results.append(run(variant, seed, cfg, args.out / ('%d_seed%d' % (number, seed))))
                path.write_text(json.dumps(dict(note=note, results=results), indent=1))
                logger.info('%s, seed %d: %s', variant, seed, results[-1])
    return [result for result in results if result['seed'] < args.seeds]


def summary(results):
    """(variant, metric name -> values in per cent) of each variant that was run."""
    rows = []
    for variant in VARIANTS:
        of_variant = [result for result in results if result['variant'] == variant]
        if of_variant:
            values = {name: np.array([100 * result[name] for result in of_variant]) for name in METRICS}
            rows.append((variant, values))
    return rows


def spread(values):
    """'71.2 ± 0.8': mean and standard deviation (of a sample) in per cent."""
    return '%.1f' % values.mean() + (' ± %.1f' % values.std(ddof=1) if len(values) > 1 else '')


def difference(base, values):
    """Base less variant, run by run, and whether that is twice its standard error: with few seeds a hint, no proof."""
    if len(base) != len(values) or len(base) < 2:
        return '-'
    gains = base - values  # the same seed: the same order of images
    clear = abs(gains.mean()) > 2 * gains.std(ddof=1) / np.sqrt(len(gains))
    return '%+.1f ± %.1f%s' % (gains.mean(), gains.std(ddof=1), '' if clear else ', within the noise')


def as_markdown(results, note):
    """The table, and what it does and does not show."""
    rows = summary(results)
    base = rows[0][1]['mAP@0.5']
    head = ['variant'] + list(METRICS) + ['base less variant, mAP@0.5', 'paper, VOC07: variant -> base']
    table = [head, ['---'] * len(head)]
    for variant, values in rows:
        gain = '' if variant == BASE else difference(base, values['mAP@0.5'])
        means = [spread(values[name]) for name in METRICS]
        table.append([variant] + means + [gain, PAPER.get(variant, '')])
    settings = ', '.join('%s %s' % item for item in note.items())
    lines = ['| %s |' % ' | '.join(cells) for cells in table]
    return '\n'.join(lines + ['', CAVEAT % (len(base), settings, note['test images'])]) + '\n'


def plot(results, path):
    """A point for each run, a bar for each mean."""
    rows = summary(results)[::-1]
    figure = Figure(figsize=(8, 0.6 * len(rows) + 1.2), tight_layout=True)
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for place, (_, values) in enumerate(rows):
        for name, shift, colour in zip(METRICS, (0.18, -0.18), ('tab:blue', 'tab:orange')):
            label = name if place == 0 else None
            axes.barh(place + shift, values[name].mean(), 0.34, color=colour, alpha=0.35, label=label)
            axes.plot(values[name], [place + shift] * len(values[name]), 'o', color=colour, markersize=4)
    axes.set(yticks=range(len(rows)), yticklabels=[variant for variant, _ in rows])
    axes.set_xlabel('%; points: seeds, bars: means')
    axes.legend(loc='lower center', bbox_to_anchor=(0.5, 1), ncol=len(METRICS), frameon=False)
    axes.grid(axis='x', alpha=0.3)
    figure.savefig(str(path), dpi=110)


def main(argv=None):
    """Entry point."""
    parser = make_parser(__doc__)
    parser.add_argument('--epochs', type=int, default=2, help='of the images and their mirror images')
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--images', type=int, default=800, help='training images')
    parser.add_argument('--test_images', type=int, default=200)
    parser.add_argument('--only', metavar='TEXT', default='', help='variants with this in their names, and the base')
    parser.add_argument('--out', type=Path, default=Path(__file__).resolve().parents[1] / 'output' / 'ablation')
    parser.add_argument('overrides', nargs='*', metavar='KEY=VALUE', help='for all variants')
    args = parser.parse_intermixed_args(argv)
    args.out = args.out.absolute()
    args.out.mkdir(parents=True, exist_ok=True)
    log_to(args.out / 'log.txt')
    make_dataset(args.out / 'data', train=args.images, val=1, test=args.test_images)
    note = {'epochs': args.epochs, 'training images': args.images, 'test images': args.test_images,
            'overrides': ' '.join(args.overrides) or 'none', 'commit': git_revision(), 'machine': machine('')}
    results = run_all(args, note)
    text = as_markdown(results, note)
    (args.out / 'ablation.md').write_text(text, encoding='utf-8')
    plot(results, args.out / 'ablation.png')
    print(text)


if __name__ == '__main__':
    run_script(main)
