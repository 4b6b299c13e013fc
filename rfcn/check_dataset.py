"""Check a data set: `rfcn check --cfg X.yaml [--html OUT.html] [--fix OUT] [KEY=VALUE ...]`.

Reads every annotation and every image once, as training does. Prints all faults, how many objects each class has, how
many of them are used, and how well the anchors fit. The exit status is 0 if training would start, and a test of the
test set, if that is there; 1 if not. Weights that `network.pretrained` names need not be there yet: the verdict tells.
"""
import sys
from pathlib import Path

if __package__ in (None, ''):
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a file: the folder of rfcn and lib, not rfcn itself

import contextlib
import functools
import itertools
import logging
from typing import NamedTuple, Optional

import numpy as np

from lib.dataset import DATASETS, read_annotated, roidb_of
from lib.dataset import faults as kinds
from lib.dataset.annotations import check_same_classes
from lib.dataset.box_rule import usage_text
from lib.dataset.check.anchors import Fit, Objects, better, fit_anchors, objects_at, sample
from lib.dataset.check.changes import SHOWN, STORED, plan_changes
from lib.dataset.check.fix import readable_part, write_fixed
from lib.dataset.check.page import html_page
from lib.dataset.check.pictures import shared_images
from lib.dataset.check.report import EXAMPLES, MEANING, anchor_text, by_kind, check, set_text
from lib.dataset.faults import Fault
from lib.dataset.imdb import check_usable
from lib.errors import ConfigError, DatasetError
from lib.rpn.anchors import anchorless, generate_anchors
from lib.utils.console import progress, say
from lib.utils.folders import check_new_folder, whole_folder
from lib.utils.limits import is_there
from lib.utils.whole_file import check_not_read, check_place, is_standard_output, save_text
from rfcn import data_sets
from rfcn.checkpoints.checkpoint import start_path
from rfcn.cli.run import parse_config
from rfcn.cli.script import run_script
from rfcn.collect_env import LIB_NAME
from rfcn.core.target_loaders import check_anchors
from rfcn.symbols import make_symbol

WORST = 6  # objects that the anchors fit least, shown in the page


def add_arguments(parser):
    """Add the arguments of this script."""
    parser.add_argument('--html', help='write the report as a page with pictures of the worst cases')
    parser.add_argument('--fix', metavar='OUT', help='write a cleaned copy of the annotations to this new folder')
    parser.add_argument('--upright', choices=[SHOWN, STORED], nargs='?', const=SHOWN,
                        help='with --fix: turn pictures with an orientation upright. Their boxes were drawn on the '
                             'picture as viewers show it (shown, the default) or refer to the pixels as stored')
    parser.add_argument('--reencode', action='store_true',
                        help='with --fix: write truncated pictures anew, with what can be read of them')
    parser.add_argument('--pixels', action='store_true', default=None,
                        help='read the pixels of large sets too, not the headers alone')


@contextlib.contextmanager
def quiet_lib():
    """Silence the warnings of `lib`: what it warns of is in the report."""
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
    return training, [name for name in data_sets.all_sets(cfg) if name not in training]


def check_sets(cfg, names, pixels=None):
    """The report of each set, and the error of each set that cannot be read at all."""
    reports, failures = {}, {}
    options, reading = data_sets.dataset_options(cfg), data_sets.reading_options(cfg)
    for name in names:
        if name not in image_sets(cfg)[0] and reports:      # tested with the classes that are trained
            reading['classes'] = reading['classes'] or next(iter(reports.values())).data.classes
        try:
            data = read_annotated(cfg.dataset.dataset, name, cfg.dataset.dataset_path, **reading)
        except (ValueError, FileNotFoundError) as error:
            failures[name] = error
            continue
        reports[name] = check(data, max_pixels=cfg.dataset.MAX_PIXELS, workers=max(1, cfg.TRAIN.WORKERS),
                              min_side=options['min_box_side'], rule=options['box_rule'], decode=pixels,
                              progress=functools.partial(progress, desc=name, unit='image'),
                              on_unknown_class=options['on_unknown_class'])
    return reports, failures


def obstacles(cfg, reports, failures):
    """Why training would not start, or would stop at an image: a list of texts, empty if it would go on."""
    training, validating = image_sets(cfg)[0], [name for name in [cfg.dataset.val_image_set] if name]
    used = training + (validating if cfg.TRAIN.EVAL_PERIOD else [])
    texts = [str(failures[name]) for name in training + validating if name in failures]
    texts += [fault.text for name in used if name in reports for fault in
              reports[name].stopping(cfg.dataset.on_bad_image, cfg.dataset.on_unknown_class)]
    if not texts:
        try:        # what training itself does, with the annotations that were read
            if cfg.symbol:      # data may be checked before a network is chosen
                make_symbol(cfg)
            open_set = functools.partial(DATASETS[cfg.dataset.dataset].evaluation, **data_sets.dataset_options(cfg))
            imdbs = {name: open_set(reports[name].data) for name in dict.fromkeys(used)}
            check_same_classes({name: reports[name].data for name in training},
                               'Give those that all have with dataset.CLASSES')
            check_anchors(cfg, roidb_of([imdbs[name] for name in training]))
            for name in used[len(training):]:
                check_usable([imdbs[name]], 'validated on')
        except (ValueError, FileNotFoundError) as error:
            texts.append(str(error))
    return texts


class AnchorCheck(NamedTuple):
    """How the anchors fit the training set."""
    objects: Objects
    fit: Fit                # of the configured anchors
    better: Optional[Fit]   # of others, where they would be worth it
    worst: list             # objects that fit least: (AnnotatedSet, Picture, number of the item, IoU)
    without: int            # images without an anchor inside of them
    images: int             # of which the size is known


def compare_anchors(cfg, reports):
    """The AnchorCheck of the reports of the training sets."""
    scales, ratios, stride = cfg.network.ANCHOR_SCALES, cfg.network.ANCHOR_RATIOS, cfg.network.RPN_FEAT_STRIDE
    rows = [(number, row) for number, report in enumerate(reports) for row in sample(report.usable())]
    boxes = np.array([reports[number].fitted.boxes[row] for number, row in rows]).reshape(-1, 4)
    labels = [reports[number].fitted.items['label'][row] for number, row in rows]
    sizes = [reports[number].sizes[reports[number].fitted.owners[row]] for number, row in rows]
    objects = objects_at(boxes, np.array(labels, dtype=int), np.array(sizes).reshape(-1, 2), cfg.SCALES)
    fit = fit_anchors(objects, scales, ratios, stride)
    worst = [_example(reports[rows[i][0]], rows[i][1]) + (fit.overlaps[i],)
             for i in fit.overlaps[:len(rows)].argsort(kind='stable')[:WORST]]
    return AnchorCheck(objects, fit, better(fit, objects), worst, *images_without_anchors(cfg, reports))


def images_without_anchors(cfg, reports):
    """How many images have no anchor inside of them at any scale, of how many whose size is known."""
    scales, ratios, stride = cfg.network.ANCHOR_SCALES, cfg.network.ANCHOR_RATIOS, cfg.network.RPN_FEAT_STRIDE
    sizes = np.concatenate([report.sizes for report in reports] or [np.zeros((0, 2))])
    sizes = sizes[~np.isnan(sizes).any(axis=1)]
    no_boxes = np.zeros((len(sizes), 4))
    images = objects_at(no_boxes, np.zeros(len(sizes), int), sizes, cfg.SCALES).images
    without = anchorless(generate_anchors(stride, ratios, scales), images, stride).reshape(len(cfg.SCALES), -1)
    return int(without.all(axis=0).sum()), len(sizes)


def _example(report, row):
    """AnnotatedSet, Picture and number of an item."""
    return report.data, report.data.pictures[report.fitted.owners[row]], int(report.fitted.items['number'][row])


def shared(reports, training):
    """Faults: images of a training set that are in another set too, of those that are tested or trained on."""
    pairs = itertools.combinations(reports, 2)      # the training sets come first
    return [fault for name, other in pairs if name in training
            for fault in shared_images(reports[name].data, reports[name].images, reports[other].data,
                                       reports[other].images, tested=other not in training)]


def seen_sets(cfg, training):
    """Faults: sets to test or to validate on that are trained on."""
    return [Fault(kinds.OVERLAP, '', None, 'dataset.%s: %s is trained on: what was learnt by heart counts as found'
                  % (key, cfg.dataset[key]))
            for key in ('test_image_set', 'val_image_set') if cfg.dataset[key] in training]


def report_text(reports, failures, overlaps, anchors):
    """All findings as text."""
    parts = ['%s cannot be read: %s' % pair for pair in failures.items()]
    parts += [set_text(report) for report in reports.values()]
    parts += ['\n'.join(['%s: %d (%s)' % (kind, len(faults), MEANING[kind])]
                        + ['    ' + fault.text for fault in faults[:EXAMPLES]])
              for kind, faults in by_kind(overlaps).items()]
    return '\n\n'.join(parts + [anchor_text(anchors.objects, anchors.fit, anchors.better, anchors.without,
                                            anchors.images)])


def verdict_text(cfg, stops):
    """Whether training would start, with the first of the obstacles. Data may be checked before weights are there."""
    if stops:
        return 'training would not run: %s%s' % (stops[0], more_text(stops))
    network = cfg.network
    weights = start_path(network.pretrained, network.pretrained_epoch)
    if network.pretrained and not cfg.TRAIN.RESUME and not is_there(weights):   # a run that goes on does not read them
        return 'training would start when its weights are there: %s, see data/README.md' % weights
    return 'training would start'


def more_text(stops):
    """How many obstacles there are behind the first."""
    return ' ... and %d more' % (len(stops) - 1) if len(stops) > 1 else ''


def untestable(cfg, reports, failures):
    """Why nothing can be tested on the test set, '' if it can or is not there."""
    name, texts = cfg.dataset.test_image_set, []
    if isinstance(failures.get(name), DatasetError):        # a set that is not there has a FileNotFoundError
        texts.append(str(failures[name]))
    report = reports.get(name)
    if report:
        texts += [fault.text for fault in
                  report.stopping(cfg.dataset.on_bad_image, cfg.dataset.on_unknown_class)]
    if report and report.by_kind().get(kinds.UNUSABLE):
        texts.append('%s: %s' % (report.data.name, usage_text(report.fitted, 'tested on')))
    return 'a test would not run: %s%s' % (texts[0], more_text(texts)) if texts else ''


def fix(cfg, reports, out, upright=None, reencode=False):
    """Write cleaned copies of all sets of which an image is left, or of none, and print what was changed."""
    origin, limit = cfg.dataset.CSV_ORIGIN, cfg.dataset.MAX_PIXELS
    plans = {name: plan_changes(report, upright=upright, reencode=_readable(report, limit) if reencode else ())
             for name, report in reports.items()}
    for name, report in reports.items():
        if all(picture.index in plans[name].pictures for picture in report.data.pictures):
            say('\n%s: no cleaned copy, since no image is left' % name)
            del plans[name]
    if not plans:
        return
    with whole_folder(out) as folder:
        for name, changes in plans.items():
            write_fixed(reports[name].data, changes, name, cfg.dataset.dataset_path, folder, origin, limit)
            say('\n%s: cleaned copy in %s' % (name, out))
            say('\n'.join('  ' + note for note in changes.notes) or '  nothing changed')


def _readable(report, max_pixels):
    """Index of each damaged picture of which something can be read."""
    paths = {picture.index: picture.path for picture in report.data.pictures}
    found = []
    for fault in report.by_kind().get(kinds.IMAGE, ()):
        try:
            readable_part(paths[fault.index], max_pixels)
        except (DatasetError, FileNotFoundError):
            continue
        found.append(fault.index)
    return found


def files_of(reports):
    """Paths of all annotations and images that were checked."""
    return [path for report in reports.values() for picture in report.data.pictures
            for path in (picture.source, picture.path)]


def run(cfg, args):
    """Check, print, and write what is asked for. Returns whether training would start and the test set is usable."""
    if args.html:
        check_place(args.html)
        check_not_read([args.html], [args.cfg])
    if args.fix:
        check_new_folder(args.fix)
    elif args.upright or args.reencode:
        raise ConfigError('--upright and --reencode say how a cleaned copy is made: name its folder, --fix OUT')
    training, others = image_sets(cfg)
    with quiet_lib():
        reports, failures = check_sets(cfg, training + others, args.pixels)
        anchors = compare_anchors(cfg, [reports[name] for name in training if name in reports])
        stops = obstacles(cfg, reports, failures)
    overlaps = seen_sets(cfg, training) + shared(reports, training)
    untested = untestable(cfg, reports, failures)
    verdict = '\n'.join(filter(None, [verdict_text(cfg, stops), untested]))
    text = '\n%s\n\n%s' % (report_text(reports, failures, overlaps, anchors), verdict)
    say(text, file=sys.stderr if is_standard_output(args.html) else sys.stdout)
    good = not stops and not untested
    if args.html:
        check_not_read([args.html], files_of(reports))
        title = 'Data set %s' % cfg.dataset.dataset_path
        shown = anchors.objects, anchors.fit, anchors.better, anchors.worst
        page = html_page(title, verdict, good, list(reports.values()), shown, overlaps, cfg.dataset.MAX_PIXELS)
        save_text(args.html, page.encode('utf-8', 'replace').decode('utf-8'))
        if not is_standard_output(args.html):
            say('the page is %s' % args.html)
    if args.fix:
        for name in failures:
            say('\n%s: no cleaned copy, since it cannot be read' % name)
        if reports:
            fix(cfg, reports, args.fix, args.upright, args.reencode)
    return good


def main(argv=None):
    """Entry point. Returns the exit status."""
    cfg, args = parse_config(__doc__, argv, add_arguments)
    return 0 if run(cfg, args) else 1


if __name__ == '__main__':
    run_script(main)
