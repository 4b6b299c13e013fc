"""Make one page of what a test found: what is good, what goes wrong, what that costs, and the worst pictures.

    rfcn test --cfg config.yaml --params X.params --report DIR
    rfcn report --cfg config.yaml --out DIR [--detections FILE.pkl] [--against OTHER_DIR]

DIR gets report.html, which needs no other file, and report.json, which --against of another report reads. The
detections are those that `rfcn test` saved. See docs/report.md.
"""
import datetime
import json
import logging
import math
import shlex
from pathlib import Path

import numpy as np

from lib.errors import DatasetError, UserError
from lib.utils.folders import check_folder, make_folder
from lib.utils.image_file import imread
from lib.utils.limits import is_there
from lib.utils.whole_file import whole_files
from rfcn import data_sets
from rfcn.checkpoints.identity import CLASSES
from rfcn.cli.run import folder_of_test, log_to, parse_config
from rfcn.cli.script import share, whole_number_from
from rfcn.collect_env import git_revision, machine
from rfcn.config.config import dump, with_overrides
from rfcn.report import analysis
from rfcn.report.page import Content, objects_and_detections, report_page
from rfcn.result import TEST_CONFIG, detections_path, read_detections, read_test

logger = logging.getLogger(__name__)
PAGE, SUMMARY = 'report.html', 'report.json'
MOST_BYTES = 2 ** 22    # of a summary
SCORE, PICTURES = 0.5, 12


def add_arguments(parser):
    """Add the arguments of this command."""
    parser.add_argument('--out', required=True, metavar='DIR', help='folder of the report')
    parser.add_argument('--detections', metavar='FILE.pkl',
                        help='saved detections; by default those that rfcn test wrote with this configuration')
    add_shared_arguments(parser)


def add_shared_arguments(parser):
    """Add the arguments that this command shares with `rfcn test --report`."""
    parser.add_argument('--against', metavar='DIR', help='folder of another report: show the differences')
    parser.add_argument('--report_score', type=share, default=SCORE, metavar='S',
                        help="of the report: lowest score in its pictures and its table of what is taken for what "
                             '(default %(default)s)')
    parser.add_argument('--report_pictures', type=whole_number_from(0), default=PICTURES, metavar='N',
                        help='of the report: number of pictures (default %(default)s)')


def write_report(cfg, imdb, all_boxes, evaluation, folder, *, params='', against=None, thresh=SCORE,
                 pictures=PICTURES):
    """Write report.html and report.json.

    Args:
        cfg: the settings of the test. imdb: the data set that was tested on. all_boxes: [class][image] = (n, 5).
        evaluation: of `imdb`.
        folder: to write to. params: path of the checkpoint. against: folder of another report.
        thresh: lowest score in pictures and counts. pictures: how many.
    Returns:
        path of the page.
    Raises:
        UserError: the images have no annotations, or `against` is no folder of a report.
    """
    check_annotated(imdb)
    before = read_summary(against) if against else None
    imdb.check_detections(all_boxes)
    objects = analysis.objects_of(imdb)
    judged = analysis.judge_detections(objects, all_boxes)
    content = _content(cfg, imdb, evaluation, objects, judged, params, before, thresh)
    content = content._replace(pictures=list(_pictures(cfg, imdb, objects, judged, thresh, pictures)))
    make_folder(folder)
    texts = [json.dumps(summary(content), indent=1) + '\n', report_page(content)]
    with whole_files([Path(folder, SUMMARY), Path(folder, PAGE)], last_tells=True) as temporaries:
        for temporary, text in zip(temporaries, texts):
            Path(temporary).write_text(text, encoding='utf-8')
    logger.info('wrote %s', Path(folder, PAGE))
    return str(Path(folder, PAGE))


def check_annotated(imdb):
    """Raise a UserError where a data set has no annotations."""
    if not imdb.has_annotations:
        raise UserError('%s has no annotations: there is nothing that a report could compare the detections with'
                        % imdb.name)


def _content(cfg, imdb, evaluation, objects, judged, params, before, thresh):
    number = imdb.num_classes
    wanted = objects.labels[~objects.excused]
    seen = judged.scores >= thresh
    counts = {kind: int((seen & (judged.verdicts == verdict)).sum()) for kind, verdict in analysis.KINDS.items()}
    counts[analysis.MISSED] = int(analysis.missed_objects(objects, judged).sum())
    areas = objects.areas[~objects.excused]
    facts = [('images', imdb.num_images), ('objects', len(wanted)), ('detections', len(judged.scores)),
             ('parameters', params or 'not known'), ('commit', git_revision()), ('machine', machine(cfg.gpus)),
             ('date', datetime.datetime.now().isoformat(timespec='seconds'))]
    return Content(
        title='Test on %s' % imdb.name, facts=facts, metrics=evaluation.metrics, classes=list(imdb.classes[1:]),
        objects=np.bincount(wanted, minlength=number)[1:].tolist(),
        curves=analysis.class_curves(objects, judged, number), sizes=analysis.size_curves(objects, judged, number),
        size_objects={name: int(((areas >= least) & (areas < limit)).sum())
                      for name, (least, limit) in analysis.SIZES.items()},
        costs=analysis.error_costs(objects, judged, number), counts=counts,
        matrix=analysis.confusion(objects, judged, number, thresh), histogram=analysis.score_histogram(judged),
        thresh=thresh, pictures=[], settings=dump(cfg), against=before)


def _pictures(cfg, imdb, objects, judged, thresh, count):
    """Yield picture and caption of the images with the most mistakes."""
    for image in analysis.worst_images(objects, judged, thresh, count):
        index = imdb.image_set_index[image]
        try:
            im = imread(imdb.image_path(index), cfg.dataset.MAX_PIXELS)
        except (DatasetError, FileNotFoundError) as error:
            logger.warning('left out of the report: %s', error)
            continue
        yield objects_and_detections(im, image, objects, judged, imdb.classes, thresh), index


def summary(content):
    """What report.json holds: enough for another report to compare itself with. JSON has no NaN: None."""
    def plain(values):
        return {name: None if math.isnan(value) else float(value) for name, value in values.items()}
    return {'title': content.title, 'date': dict(content.facts)['date'], 'facts': dict(content.facts),
            'metrics': plain({name: value for name, value in content.metrics.items() if '/' not in name}),
            'classes': plain({name: content.metrics.get('AP@0.5/' + name, math.nan) for name in content.classes}),
            'sizes': plain({name: analysis.mean_ap(curves) for name, curves in content.sizes.items()}),
            'costs': plain(content.costs), 'counts': content.counts}


def read_summary(folder):
    """The summary of another report. Raises a UserError where there is none, or where it is damaged."""
    path = Path(folder, SUMMARY)
    if not is_there(path):
        raise UserError('%s: no such file; --against expects the folder of another report' % path)
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError('it has more than %d bytes' % MOST_BYTES)
        found = json.loads(path.read_text(encoding='utf-8'))
        numbers = {key: {str(name): None if value is None else float(value) for name, value in found[key].items()}
                   for key in ('metrics', 'classes', 'sizes', 'costs')}
        return dict(numbers, title=str(found['title']), date=str(found['date']),
                    parameters=str(found['facts']['parameters']))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError('%s: is damaged or no summary of a report (%s: %s). Make that report again'
                        % (path, type(error).__name__, error)) from None


def _data_of(cfg, tested, folder):
    """The test set with the classes of the detections, in their order.

    Args:
        tested: the configuration of the test that left its files in `folder`.
    """
    try:
        imdb, = data_sets.datasets(with_overrides(cfg, {CLASSES: tested.dataset.CLASSES}), cfg.dataset.test_image_set)
        return imdb
    except DatasetError:
        known = tested.dataset.CLASSES
        others = [name for name in data_sets.with_classes(cfg).dataset.CLASSES if name not in known]
        if not others:
            raise
        raise UserError('the detections in %s are of the classes %s, and this configuration has others: %s. Give the '
                        'one that they were made with: --cfg %s' % (folder, ', '.join(known), ', '.join(others),
                                                                     shlex.quote(str(folder / TEST_CONFIG)))) from None


def main(argv=None):
    """Entry point."""
    cfg, args = parse_config(__doc__, argv, add_arguments)
    log_to(None, cfg.default.log_level)
    check_folder(args.out)
    folder = Path(args.detections).parent if args.detections else folder_of_test(cfg, args.cfg)
    params, tested = read_test(folder) or ('', data_sets.with_classes(cfg))
    imdb = _data_of(cfg, tested, folder)
    saved = Path(args.detections or detections_path(folder, imdb))
    if not is_there(saved):
        raise UserError('%s: no such file of detections; rfcn test writes it, or name one with --detections' % saved)
    all_boxes = read_detections(saved)
    evaluation = imdb.evaluate_detections(all_boxes)
    write_report(tested, imdb, all_boxes, evaluation, args.out, params=params, against=args.against,
                 thresh=args.report_score, pictures=args.report_pictures)
