"""Check a data set: `rfcn check --cfg X.yaml [--html OUT.html] [--fix OUT] [KEY=VALUE ...]`.

Reads every annotation and every image once and prints all that is wrong, how many objects each class has, and how the
anchors fit them. Exit status 0 if training would start, 1 if not.
"""
import sys
from pathlib import Path

if __package__ in (None, ''):
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a file: the folder of rfcn and lib, not rfcn itself

import contextlib
import functools
import logging

from lib.dataset.check.anchors import better, fit_anchors, objects_at
from lib.dataset.check.changes import plan
from lib.dataset.check.fix import write_fixed
from lib.dataset.check.images import shared_images
from lib.dataset.check.items import usable_items
from lib.dataset.check.page import html_page
from lib.dataset.check.report import MEANING, check
from lib.dataset.check.text import EXAMPLES, anchor_text, set_text
from lib.dataset.readers import read_annotated
from lib.dataset.roidb import filter_roidb
from lib.utils.progress import progress
from rfcn import build
from rfcn.cli.run import parse_config
from rfcn.collect_env import LIB_NAME
from rfcn.cli.script import run_script

WORST = 6  # objects that the anchors fit least, shown in the page


def add_arguments(parser):
    """Of this script."""
    parser.add_argument('--html', help='write the report as a page with pictures of the worst cases')
    parser.add_argument('--fix', metavar='OUT', help='write a cleaned copy of the annotations to this new folder')


@contextlib.contextmanager
def quiet_lib():
    """Keep the warnings of `lib` to itself: what it warns of is in the report."""
    logger = logging.getLogger(LIB_NAME)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def image_sets(cfg):
    """Names of the sets to check: those to train on, then those to test and validate on."""
    training = [name.strip() for name in cfg.dataset.image_set.split('+')]
    others = [cfg.dataset.test_image_set, cfg.dataset.val_image_set]
    return training, [name for name in dict.fromkeys(others) if name and name not in training]


def check_sets(cfg, names):
    """Report of each set; and a text for each that cannot be read at all."""
    reports, failures = {}, {}
    for name in names:
        try:
            data = read_annotated(cfg.dataset.dataset, name, cfg.dataset.dataset_path, cfg.dataset.CLASSES or None)
        except (ValueError, FileNotFoundError) as error:
            failures[name] = str(error)
            continue
        reports[name] = check(data, max_pixels=cfg.dataset.MAX_PIXELS, workers=max(1, cfg.TRAIN.WORKERS),
                              progress=functools.partial(progress, desc=name, unit='image'))
    return reports, failures


def obstacles(cfg, reports, failures, training):
    """Why training would not start, or would stop at an image: a list of texts, empty if it would go on."""
    texts = [failures[name] for name in training if name in failures]
    settings = dict(on_bad_image=cfg.dataset.on_bad_image, on_unknown_class=cfg.dataset.on_unknown_class)
    texts += [fault.text for name in training if name in reports for fault in reports[name].stopping(**settings)]
    if not texts:
        try:
            filter_roidb(build.training_roidb(cfg))  # what training itself does
        except (ValueError, FileNotFoundError) as error:
            texts.append(str(error))
    return texts


def compare_anchors(cfg, reports):
    """The training objects, Fit of the configured anchors, a better Fit or None, the objects that fit least.
    """
    pairs = [pair for report in reports for pair in usable_items(report.data, report.looks)]
    objects = objects_at(pairs, cfg.SCALES)
    fit = fit_anchors(objects, cfg.network.ANCHOR_SCALES, cfg.network.ANCHOR_RATIOS)
    order = fit.overlaps[:len(pairs)].argsort(kind='stable')[:WORST]
    return objects, fit, better(fit, objects), [pairs[i] + (fit.overlaps[i],) for i in order]


def shared(reports, training):
    """Faults: images of the training sets that are in the other sets too."""
    pairs = [(reports[name], reports[other]) for name in training if name in reports
             for other in reports if other not in training]
    return [fault for ours, theirs in pairs
            for fault in shared_images(ours.data, ours.looks, theirs.data, theirs.looks)]


def report_text(reports, failures, overlaps, anchors):
    """All findings as text."""
    parts = ['%s cannot be read: %s' % pair for pair in failures.items()]
    parts += [set_text(report) for report in reports.values()]
    if overlaps:
        parts.append('\n'.join(['%s: %d (%s)' % (overlaps[0].kind, len(overlaps), MEANING[overlaps[0].kind])]
                               + ['    ' + fault.text for fault in overlaps[:EXAMPLES]]))
    return '\n\n'.join(parts + [anchor_text(*anchors[:3])])


def verdict_text(stops):
    """Whether training would start, with the first of the obstacles."""
    if not stops:
        return 'training would start'
    more = ' ... and %d more' % (len(stops) - 1) if len(stops) > 1 else ''
    return 'training would not run: %s%s' % (stops[0], more)


def fix(cfg, reports, out):
    """Write cleaned copies and print what was changed."""
    for name, report in reports.items():
        changes = plan(report)
        write_fixed(report.data, changes, name, cfg.dataset.dataset_path, out)
        print('\n%s: cleaned copy in %s' % (name, out))
        print('\n'.join('  ' + note for note in changes.notes) or '  nothing changed')


def run(cfg, html=None, fix_folder=None):
    """Check, print, and write what is asked for. Returns the obstacles to training."""
    training, others = image_sets(cfg)
    with quiet_lib():
        reports, failures = check_sets(cfg, training + others)
        stops = obstacles(cfg, reports, failures, training)
    overlaps = shared(reports, training)
    anchors = compare_anchors(cfg, [reports[name] for name in training if name in reports])
    verdict = verdict_text(stops)
    print('\n%s\n\n%s' % (report_text(reports, failures, overlaps, anchors), verdict))
    if html:
        title = 'Data set %s' % cfg.dataset.dataset_path
        page = html_page(title, verdict, not stops, list(reports.values()), anchors, overlaps, cfg.dataset.MAX_PIXELS)
        Path(html).write_text(page, encoding='utf-8', errors='replace')
        print('the page is ' + html)
    if fix_folder:
        fix(cfg, reports, fix_folder)
    return stops


def main(argv=None):
    """Entry point. Returns the exit status."""
    cfg, args = parse_config(__doc__, argv, add_arguments)
    return 1 if run(cfg, args.html, args.fix) else 0


if __name__ == '__main__':
    run_script(main)
