"""What looking at votes teaches: three studies on networks of the demo. docs/results/votes.md has what they showed.

    python experiments/votes.py --k3 RUN --k1 RUN --k7 RUN --no_ohem RUN [--images 100] --out DIR

A RUN is the folder of a training of experiments/demo/demo.yaml: as it is, with network.POOLED_SIZE=1 or 7, and with
TRAIN.ENABLE_OHEM=false TRAIN.BATCH_ROIS=256. Writes votes.json and votes.png.

1. Localisation: the softmax of an object's class as its true box is shifted sideways, for each k.
2. OHEM: whose losses a training on the hardest RoIs and one on RoIs drawn at random leave.
3. Position sensitivity: the first study with each class's k x k maps replaced by their mean.
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

from lib.errors import UserError
from lib.utils.folders import make_folder
from lib.utils.whole_file import save_text, save_whole
from rfcn import data_sets, inference
from rfcn.checkpoints import checkpoint
from rfcn.cli.run import log_to
from rfcn.cli.script import make_parser, run_script, whole_number_from
from rfcn.config.config import load_config
from rfcn.detector import Detector
from rfcn.explaining.decision import score_boxes
from rfcn.explaining.training import training_images

logger = logging.getLogger('rfcn')

SHIFTS = np.round(np.arange(-1, 1.01, 0.1), 2)     # of the box, in units of its width
HARDEST, RANDOM = 'the hardest RoIs (OHEM)', 'RoIs drawn at random'
WITH_OHEM = ['TRAIN.ENABLE_OHEM=true', 'TRAIN.BATCH_ROIS=-1']   # so that all RoIs and their losses are seen


def shifted_scores(detector, roidb):
    """The votes and the softmax of the true class for true boxes shifted by SHIFTS.

    Returns:
        votes, probabilities: (objects, len(SHIFTS)), NaN where the box leaves the image.
    """
    votes, probabilities = [], []
    for entry in roidb:
        boxes, labels = np.asarray(entry['boxes'], dtype=np.float32), entry['gt_classes']
        if not len(boxes):
            continue
        widths = boxes[:, 2] - boxes[:, 0] + 1
        moved = np.repeat(boxes[:, None], len(SHIFTS), axis=1)                              # (objects, shifts, 4)
        moved[..., 0::2] += (widths[:, None] * SHIFTS)[..., None]
        inside = (moved[..., 0] >= 0) & (moved[..., 2] <= entry['width'] - 1)
        of_image = np.full((2,) + inside.shape, np.nan)
        of_box = np.broadcast_to(labels[:, None], inside.shape)[inside]
        for values, scores in zip(of_image, score_boxes(detector, entry['image'], moved[inside])):
            values[inside] = scores[np.arange(len(scores)), of_box]
        votes.extend(of_image[0])
        probabilities.extend(of_image[1])
    return np.array(votes), np.array(probabilities)


def without_positions(detector, path):
    """The detector with each class's k x k score maps replaced by their mean; its parameters are written to `path`.
    """
    arg_params, aux_params = checkpoint.load_params(detector.params)
    bins = detector.cfg.network.POOLED_SIZE ** 2
    for name in 'rfcn_cls_weight', 'rfcn_cls_bias':
        value = arg_params[name]
        maps = value.reshape((-1, bins) + value.shape[1:])                       # (C, k * k, ...)
        arg_params[name] = maps.mean(axis=1, keepdims=True).broadcast_to(maps.shape).reshape(value.shape)
    means, stds = inference.bbox_normalisation(detector.cfg)
    arg_params.update(checkpoint.unnormalised_bbox(arg_params, means, stds, bins))
    checkpoint.save_params(str(path), arg_params, aux_params)
    return Detector(detector.cfg, path)


def study_of_shifts(runs, where, images, out):
    """Studies 1 and 3: variant -> its mean curves over SHIFTS, and how wide they are.

    Args:
        runs: name -> folder of a training. where: 'KEY=VALUE' of its configuration. images: how many test images.
        out: folder to write parameters to.
    """
    found = {}
    for name, run in runs.items():
        detector = Detector(run / 'config.yaml', last(run), where)
        roidb = data_sets.datasets(detector.cfg, detector.cfg.dataset.test_image_set)[0].gt_roidb()[:images]
        variants = {name: detector}
        if detector.cfg.network.POOLED_SIZE > 1:
            variants[name + ', mean map'] = without_positions(detector, out / 'mean_map.params')
        for variant, each in variants.items():
            votes, probabilities = shifted_scores(each, roidb)
            curves = {'vote': np.nanmean(votes, axis=0), 'softmax': np.nanmean(probabilities, axis=0)}
            found[variant] = dict({kind: curve.tolist() for kind, curve in curves.items()}, objects=len(votes),
                                  half_softmax=half_width(curves['softmax']), half_vote=half_width(curves['vote']))
            logger.info('%s: %d objects, softmax %.3f at 0, %.3f at half of the width; half of it at %.2f', variant,
                        len(votes), curves['softmax'][10], curves['softmax'][15], found[variant]['half_softmax'])
    return found


def losses(cfg, params, images):
    """The losses of all RoIs of training images, class and box together: of foreground, of background, of each image.

    Returns:
        dict of numbers: see docs/results/votes.md.
    """
    foreground, background, kept_share, kept_foreground, count = [], [], [], [], []
    for taught in training_images(cfg, params, images):
        rois = taught.rois
        loss, real = rois.cls_loss + rois.box_loss, rois.labels >= 0
        foreground += loss[rois.labels > 0].tolist()
        background += loss[rois.labels == 0].tolist()
        kept_share.append(loss[rois.kept].sum() / loss[real].sum())
        kept_foreground.append((rois.labels[rois.kept] > 0).mean())
        count.append(np.sort(loss[real])[::-1].cumsum() / loss[real].sum())
    half = [int((curve < 0.5).sum()) + 1 for curve in count]
    return {'foreground RoIs': len(foreground), 'background RoIs': len(background),
            'mean loss, foreground': float(np.mean(foreground)), 'mean loss, background': float(np.mean(background)),
            'share of the loss that is foreground': sum(foreground) / (sum(foreground) + sum(background)),
            'share of the loss that the 64 hardest hold': float(np.mean(kept_share)),
            'share of the 64 hardest that is foreground': float(np.mean(kept_foreground)),
            'RoIs that hold half of the loss': float(np.mean(half)),
            'losses, foreground': np.sort(foreground)[::-1].tolist(),
            'losses, background': np.sort(background)[::-1].tolist()}


def half_width(curve):
    """The shift to the right, in units of the width, at which a curve falls to half of its value at 0."""
    right = curve[len(SHIFTS) // 2:]
    below = np.flatnonzero(right < right[0] / 2)
    if not len(below):
        return float('nan')
    last = below[0]
    step = (right[last - 1] - right[0] / 2) / (right[last - 1] - right[last])
    return float((last - 1 + step) * 0.1)


def draw(results, path):
    """Draw three panels."""
    figure = Figure(figsize=(13, 4))
    panels = figure.subplots(1, 3)
    for name, style in (('k = 1', ':'), ('k = 3', '-'), ('k = 7', '--')):
        panels[0].plot(SHIFTS, results['shift'][name]['softmax'], style, label=name)
    for name in 'k = 3', 'k = 7':
        style = '-' if name == 'k = 3' else '--'
        line, = panels[2].plot(SHIFTS, results['shift'][name]['vote'], style, label=name)
        panels[2].plot(SHIFTS, results['shift'][name + ', mean map']['vote'], style, alpha=0.45, color=line.get_color(),
                       label=name + ', its maps replaced by their mean')
    for name, color in ((HARDEST, 'C0'), (RANDOM, 'C1')):
        for kind, style in (('foreground', '-'), ('background', ':')):
            values = np.array(results['ohem'][name]['losses, ' + kind])
            panels[1].plot(np.linspace(0, 1, len(values)), values + 1e-5, style, color=color,
                           label='trained on %s: %s' % (name, kind))
    panels[1].set_yscale('log')
    panels[2].set_ylim(top=9.5)     # room for the legend
    titles = ('1. True boxes shifted sideways', '2. Losses of RoIs, highest first', '3. Without position sensitivity')
    axes = (('shift / width', 'softmax of the class, mean'), ('share of the RoIs', 'loss'),
            ('shift / width', 'vote of the class, mean'))
    for panel, title, (x, y) in zip(panels, titles, axes):
        panel.set(title=title, xlabel=x, ylabel=y)
        panel.grid(alpha=0.3)
        panel.legend(fontsize=7, loc='upper right' if panel is not panels[1] else 'lower left')
    figure.tight_layout()
    save_whole([path], FigureCanvasAgg(figure).print_png)


def main(argv=None):
    """Entry point."""
    parser = make_parser(__doc__)
    for name in 'k3', 'k1', 'k7', 'no_ohem':
        parser.add_argument('--' + name, required=True, type=Path, metavar='RUN')
    parser.add_argument('--data', help='folder of the data set, where it is not where the training had it')
    parser.add_argument('--images', type=whole_number_from(1), default=100,
                        help='test and training images to look at (default 100)')
    parser.add_argument('--out', required=True, type=Path)
    args = parser.parse_args(argv)
    log_to(None)
    make_folder(args.out)
    where = ['dataset.dataset_path=' + args.data] if args.data else []
    runs = {'k = 1': args.k1, 'k = 3': args.k3, 'k = 7': args.k7}
    results = {'shift': study_of_shifts(runs, where, args.images, args.out), 'ohem': {}}
    for name, run in ((HARDEST, args.k3), (RANDOM, args.no_ohem)):
        results['ohem'][name] = losses(load_config(run / 'config.yaml', where + WITH_OHEM), str(last(run)), args.images)
        logger.info('%s: %s', name, {key: value for key, value in results['ohem'][name].items()
                                     if not isinstance(value, list)})
    save_text(args.out / 'votes.json', json.dumps(results))
    draw(results, args.out / 'votes.png')


def last(run):
    """The newest numbered checkpoint of a training. Raises a UserError if there is none."""
    found = max(run.glob('*-[0-9][0-9][0-9][0-9].params'), default=None)
    if found is None:
        raise UserError('%s: expected the folder of a training, found no checkpoint such as demo-0001.params' % run)
    return found


if __name__ == '__main__':
    run_script(main)
