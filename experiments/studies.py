"""What the ablation varies (experiments/ablation.py), and what is said of it: studies, their table and their picture.

A study is a base configuration and changes of one thing each. A result of it is a dict: variant, seed, the metrics, the
costs that were measured.
"""
import itertools
from pathlib import Path
from typing import Any, Dict, NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lib.utils.whole_file import save_whole

HERE = Path(__file__).resolve().parent
METRICS = ('mAP@0.5', 'mAP@0.7')
COSTS = (('train_s', 'training, s per step', '%.2f'), ('peak_mb', 'peak MB', '%.0f'),
         ('test_s', 'test, s per image', '%.3f'))
NOISE = 'A difference near the spread of the seeds shows nothing.'
NO_MINING = {'TRAIN.ENABLE_OHEM': False}    # as many RoIs per image as OHEM keeps, at random
STRIDE_32 = {'network.CONV5': 'stride32', 'network.RCNN_FEAT_STRIDE': 32}


class Study(NamedTuple):
    """A base and what is held against it."""
    cfg: Path                               # the base's YAML file
    variants: Dict[str, Dict[str, Any]]     # name -> changed keys; the base, without a change, first
    paper: Dict[str, str]                   # name -> the paper's mAP of the variant -> of the base: VOC07, ResNet-101
    caveat: str                             # what the study can show and what it can't

    @property
    def base(self):
        """Name of the base."""
        return next(iter(self.variants))


DEMO = Study(
    HERE / 'demo' / 'demo.yaml',
    {'R-FCN, k = 3, a trous, OHEM': {},
     'k = 1': {'network.POOLED_SIZE': 1},
     'conv5 at stride 32': STRIDE_32,
     'no OHEM': NO_MINING,
     'naive Faster R-CNN, RoI output 3x3': {'symbol': 'small_naive_rcnn'},
     'bf16 convolutions': {'TRAIN.PRECISION': 'bf16'}},  # not of the paper: what faster training on a CPU costs
    {'k = 1': 'fails -> 75.5', 'conv5 at stride 32': '74.0 -> 76.6', 'no OHEM': '76.6 -> 79.5',
     'naive Faster R-CNN, RoI output 3x3': '68.9 (7x7) -> 76.6'},
    '''A narrow network from scratch for a few epochs on rendered things of 24 to 90 pixels: this shows which way a
choice pulls here. It cannot show how much it matters for ResNet-101 on photographs.''')

PHOTOGRAPHS = Study(
    HERE / 'rfcn' / 'cfgs' / 'ablation_voc2012_animals.yaml',
    {'R-FCN, k = 7, a trous, OHEM': {},
     'k = 3': {'network.POOLED_SIZE': 3},
     'k = 1: no position sensitivity': {'network.POOLED_SIZE': 1},
     'conv5 at stride 32': STRIDE_32,
     'conv4 only': {'network.CONV5': 'none'},
     'OHEM keeps all 300 RoIs': {'TRAIN.BATCH_ROIS_OHEM': 300},
     'no OHEM': NO_MINING,
     'class-specific boxes': {'CLASS_AGNOSTIC': False},
     'naive Faster R-CNN, RoI output 1x1': {'symbol': 'resnet_v1_50_naive_rcnn', 'network.POOLED_SIZE': 1},
     'naive Faster R-CNN, RoI output 7x7': {'symbol': 'resnet_v1_50_naive_rcnn'},
     'Faster R-CNN, conv5 for each RoI': {'symbol': 'resnet_v1_50_faster_rcnn', 'network.CONV5': 'stride32',
                                          'network.POOLED_SIZE': 14},
     '2000 RoIs in testing': {'TEST.RPN_POST_NMS_TOP_N': 2000},
     'multi-scale training': {'SCALES': [[240, 400], [300, 500], [360, 600]]}},
    {'k = 3': '75.5 -> 76.6', 'k = 1: no position sensitivity': 'fails -> 76.6', 'conv5 at stride 32': '74.0 -> 76.6',
     'conv4 only': '72.5 -> 76.6', 'no OHEM': '76.6 -> 79.5', 'naive Faster R-CNN, RoI output 1x1': '61.7 -> 76.6',
     'naive Faster R-CNN, RoI output 7x7': '68.9 -> 76.6', 'Faster R-CNN, conv5 for each RoI': '79.3 -> 79.5',
     'multi-scale training': '80.5 -> 79.5'},
    '''ResNet-50 from ImageNet weights, one short schedule for all: a variant that learns more slowly looks worse than
it would after a full training.''')

STUDIES = {'demo': DEMO, 'voc2012_animals': PHOTOGRAPHS}


def find(results, variant, seed):
    """The result of a variant and a seed, or None."""
    return next((result for result in results if result['variant'] == variant and result['seed'] == seed), None)


def summary(study, results):
    """(variant, metric name -> values in per cent, seed by seed) of each variant that was run."""
    rows = []
    for variant in study.variants:
        of_variant = sorted((result for result in results if result['variant'] == variant),
                            key=lambda result: result['seed'])      # runs at once end in any order
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
        return '%+.1f, one seed' % (base.mean() - values.mean())
    gains = base - values  # the same seed: the same order of images
    clear = abs(gains.mean()) > 2 * gains.std(ddof=1) / np.sqrt(len(gains))
    return '%+.1f ± %.1f%s' % (gains.mean(), gains.std(ddof=1), '' if clear else ', within the noise')


def as_markdown(study, results, note):
    """The table, and what it does and does not show."""
    rows = summary(study, results)
    base = rows[0][1]['mAP@0.5']
    costs = [cost for cost in COSTS if any(cost[0] in result for result in results)]
    head = (['variant'] + list(METRICS) + ['base less variant, mAP@0.5', 'paper, VOC07: variant -> base']
            + [title for _, title, _ in costs])
    table = [head, ['---'] * len(head)]
    for variant, values in rows:
        gain = '' if variant == study.base else difference(base, values['mAP@0.5'])
        means = [spread(values[name]) for name in METRICS]
        first = find(results, variant, 0) or {}
        table.append([variant] + means + [gain, study.paper.get(variant, '')]
                     + [form % first[name] if name in first else '' for name, _, form in costs])
    settings = ', '.join('%s %s' % item for item in note.items())
    lines = ['| %s |' % ' | '.join(cells) for cells in table]
    seeds = 'Mean and standard deviation of %d seeds; costs are those of the first' % len(base) if len(base) > 1 \
        else 'One seed: no spread is known'
    return '\n'.join(lines + ['', '%s; %s.' % (seeds, settings), '', study.caveat, NOISE]) + '\n'


def plot(study, results, path):
    """Left a point for each run and a bar for each mean; right, where testing was timed, mAP against time."""
    firsts = [find(results, variant, 0) or {} for variant in study.variants]
    timed = [result for result in firsts if 'test_s' in result]
    rows = summary(study, results)[::-1]
    figure = Figure(figsize=(16 if timed else 8, 0.6 * len(rows) + 1.2), tight_layout=True)
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 2 if timed else 1, squeeze=False)[0]
    draw_bars(panels[0], rows)
    if timed:
        for result, marker in zip(timed, itertools.cycle(10 * 'o' + 10 * 's')):     # ten colours
            panels[1].plot(result['test_s'], 100 * result['mAP@0.5'], marker, label=result['variant'])
        panels[1].legend(loc='center left', bbox_to_anchor=(1, 0.5), frameon=False)
        panels[1].set(xlabel='test, seconds per image', ylabel='mAP@0.5, %', xlim=(0, None))
        panels[1].grid(alpha=0.3)
    save_whole([path], lambda temporary: figure.savefig(temporary, dpi=110, format='png'))


def draw_bars(axes, rows):
    """A bar for each mean, a point for each seed."""
    for place, (_, values) in enumerate(rows):
        for name, shift, colour in zip(METRICS, (0.18, -0.18), ('tab:blue', 'tab:orange')):
            label = name if place == 0 else None
            axes.barh(place + shift, values[name].mean(), 0.34, color=colour, alpha=0.35, label=label)
            axes.plot(values[name], [place + shift] * len(values[name]), 'o', color=colour, markersize=4)
    axes.set(yticks=range(len(rows)), yticklabels=[variant for variant, _ in rows])
    axes.set_xlabel('%; points: seeds, bars: means')
    axes.legend(loc='lower center', bbox_to_anchor=(0.5, 1), ncol=len(METRICS), frameon=False)
    axes.grid(axis='x', alpha=0.3)
