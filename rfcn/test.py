"""Test a checkpoint: `rfcn test --cfg X.yaml [KEY=VALUE ...]`."""
import sys
from pathlib import Path

if __package__ in (None, ''):
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a file: the folder of rfcn and lib, not rfcn itself
    from rfcn._compat import check_packages
    check_packages()

import contextlib
import hashlib
import inspect
import logging
import os

from lib.dataset.result_files import free_name
from lib.errors import ConfigError, DatasetError, or_skipped
from lib.utils.folders import check_folder, make_folder
from lib.utils.image_file import imread, imwrite
from lib.utils.limits import is_there
from lib.utils.safe_load import load_pickle
from lib.utils.show_boxes import draw_detections
from lib.utils.whole_file import save_text
from rfcn import data_sets, inference
from rfcn.checkpoints.checkpoint import check_is_there
from rfcn.checkpoints.resume import sum_of_file
from rfcn.cli.run import add_params, folder_of_test, last_checkpoint, parse_config, run_folder, start_run
from rfcn.cli.script import run_script, share
from rfcn.config.config import dump, with_overrides
from rfcn.core.detect import save_detections
from rfcn.core.workers import workers
from rfcn.evaluate import check_testable, evaluate
from rfcn.precision import quantization
from rfcn.precision.cpu import check_device
from rfcn.propose import add_proposals, proposal_paths, sets_with_files, with_proposals
from rfcn.report.command import PICTURES, SCORE, add_shared_arguments, check_annotated, read_summary, write_report
from rfcn.result import RESULT_FILE, detections_path, write_result

logger = logging.getLogger(__name__)


def add_arguments(parser):
    """Add the arguments of `rfcn test`; `--ignore_cache`, `--thresh` and `--vis` keep the release's meaning."""
    add_params(parser)
    parser.add_argument('--ignore_cache', action='store_true', help='detect anew even where detections are saved')
    parser.add_argument('--thresh', type=share,
                        help='lowest score that counts (default TEST.SCORE_THRESH); the results go into a folder of '
                             'their own, thresh_T')
    parser.add_argument('--vis', action='store_true', help='write drawings of the detections beside the results')
    parser.add_argument('--report', metavar='DIR', help='write a page of what was found, what goes wrong and what that '
                                                        'costs: see rfcn report')
    add_shared_arguments(parser)


def add_arguments_given(parser):
    """Add the arguments of `rfcn test_given`."""
    add_proposals(parser)
    add_params(parser)


def check_test(cfg):
    """Before a training that a test shall follow: raise what that test would for its settings and its images.

    Raises:
        ConfigError: `TEST.PRECISION` is int8, or one that GPUs do not have.
        FileNotFoundError, DatasetError: `dataset.test_image_set` cannot be tested on.
    """
    check_device(cfg, 'TEST')
    if cfg.TEST.PRECISION == 'int8':
        raise ConfigError('TEST.PRECISION is int8, and a training makes no INT8 model: train first, make one of the '
                          'checkpoint with rfcn quantize, and test it with rfcn test')
    imdb, = data_sets.datasets(cfg, cfg.dataset.test_image_set)
    check_testable(imdb)


def test_rcnn(cfg, folder, params, ignore_cache=False, vis=False, report=None):
    """Detect on `dataset.test_image_set`, save the detections, evaluate. Returns the Evaluation.

    Saved detections are used again only if they came from the same parameters, configuration and images, and of INT8
    models from the same graph. Of several workers each detects on its share, and the first one writes the files.

    Args:
        report: a function (imdb, all_boxes, evaluation), called at the end.
    """
    imdb, = data_sets.datasets(cfg, cfg.dataset.test_image_set)
    if report:
        check_annotated(imdb)
    saved = detections_path(folder, imdb)
    origin, group = origin_of(cfg, params, imdb), workers()
    # Departure: the release takes whatever detections are saved, and keeps annotations in a cache for ever.
    usable = not ignore_cache and is_there(saved) and is_there(origin_path(saved)) \
        and origin_path(saved).read_bytes() == origin_text(origin, saved).encode('utf-8')
    if group.sum([group.first and usable])[0]:
        if not group.first:
            return None
        logger.info('evaluating the saved detections %s; --ignore_cache detects anew', saved)
        all_boxes = load_pickle(str(saved))
        evaluation = imdb.evaluate_detections(all_boxes, str(folder))
    else:
        evaluation, all_boxes = evaluate(cfg, inference.predictor(cfg, params), imdb, str(folder))
        if not group.first:
            return evaluation
        replace_detections(saved, all_boxes, origin)
    logger.info('%s\n%s', params, evaluation.table)
    write_result(cfg, folder, params, evaluation)
    if vis:
        draw_all(cfg, imdb, all_boxes, Path(folder) / 'drawings')
    if report:
        report(imdb, all_boxes, evaluation)
    return evaluation


def test_given(cfg, folder, params, path):
    """Detect on `dataset.test_image_set`, save the detections, evaluate. Returns the Evaluation.

    Args:
        params: path of a checkpoint. path: of the proposals.
    """
    imdb, = data_sets.datasets(cfg, cfg.dataset.test_image_set)
    sum_of_checkpoint(params)
    shared_sum('the file of proposals', path)
    given = with_proposals(imdb, path)
    evaluation, all_boxes = evaluate(cfg, inference.rfcn_predictor(cfg, params), imdb, str(folder), given)
    if not workers().first:
        return evaluation
    replace_detections(detections_path(folder, imdb), all_boxes)
    logger.info('%s\n%s', params, evaluation.table)
    write_result(cfg, folder, params, evaluation)
    return evaluation


def origin_path(saved):
    """The file beside saved detections that says what they came from."""
    return saved.with_suffix('.origin')


def replace_detections(saved, all_boxes, origin=None):
    """Write detections and their origin. Those without one are not used again, nor is the origin or result of earlier
    ones.
    """
    for path in origin_path(saved), saved.with_name(RESULT_FILE):
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)
    save_detections(all_boxes, str(saved))
    if origin:
        save_text(origin_path(saved), origin_text(origin, saved))


def origin_text(origin, saved):
    """What stands beside saved detections: the digest of what they came from, and their own."""
    return '%s %s' % (origin, sum_of_file(saved))


def shared_sum(what, path):
    """The SHA-256 of a file; raises a ConfigError where a worker has another one than the first."""
    digest = sum_of_file(path)
    workers().check_equal(what, digest, 'Copy %s of the first host to the others' % path)
    return digest


def sum_of_checkpoint(params):
    """The `shared_sum` of a parameter file; raises a FileNotFoundError where there is none."""
    check_is_there(params)
    return shared_sum('the checkpoint', params)


def origin_of(cfg, params, imdb):
    """A digest of the parameters, the configuration, the images and, of an INT8 model, the graph."""
    digest = hashlib.sha256(sum_of_checkpoint(params).encode('ascii'))
    paths = [imdb.image_path(index) for index in imdb.image_set_index]
    states = map(os.stat, paths)    # the size as well: a copy may keep the time
    images = ''.join('%s %d %d\n' % (path, state.st_size, state.st_mtime_ns) for path, state in zip(paths, states))
    digest.update((dump(cfg) + images).encode('utf-8', 'surrogateescape'))
    graph = Path(quantization.symbol_path(params))  # two INT8 models may differ in it alone
    if cfg.TEST.PRECISION == 'int8' and is_there(graph):
        digest.update(graph.read_bytes())
    return digest.hexdigest()


def draw_all(cfg, imdb, all_boxes, folder):
    """Draw the detections of every image, but for those that the test skipped."""
    make_folder(folder)
    taken = set()   # images of one name may lie in several folders
    for i, index in enumerate(imdb.image_set_index):
        try:
            im = imread(imdb.image_path(index), cfg.dataset.MAX_PIXELS)
        except (DatasetError, FileNotFoundError) as error:
            if cfg.dataset.on_bad_image != 'skip':
                raise or_skipped(error) from None
            continue
        drawing = draw_detections(im, [boxes[i] for boxes in all_boxes], imdb.classes, 0.5)
        imwrite(folder / (free_name(Path(index).name, taken) + '.png'), drawing)


def main(argv=None):
    """Entry point."""
    cfg, args = parse_config(__doc__, argv, add_arguments)
    if args.report:
        check_folder(args.report)
    elif args.against or (args.report_score, args.report_pictures) != (SCORE, PICTURES):
        raise ConfigError('--against, --report_score and --report_pictures are for the report of this test: name its '
                          'folder, --report DIR')
    if args.against and workers().first:
        read_summary(args.against)      # what is wrong with it is told before the test, not after
    params = args.params or last_checkpoint(cfg, args.cfg)
    folder = folder_of_test(cfg, args.cfg, args.thresh)
    if args.thresh is not None:
        cfg = with_overrides(cfg, {'TEST.SCORE_THRESH': args.thresh})
    with start_run(cfg, folder, params) as cfg:
        def report(imdb, all_boxes, evaluation):
            write_report(cfg, imdb, all_boxes, evaluation, args.report, params=params, against=args.against,
                         thresh=args.report_score, pictures=args.report_pictures)
        test_rcnn(cfg, folder, params, args.ignore_cache, args.vis, report if args.report else None)


def main_given(argv=None):
    """Test R-FCN on proposals from files: `rfcn test_given --cfg X.yaml [--proposals FILE] [KEY=VALUE ...]`.

    By default the files are those that rfcn propose wrote; its example writes the file that the example below uses.
    """
    cfg, args = parse_config(inspect.getdoc(main_given), argv, add_arguments_given)
    params = args.params or last_checkpoint(cfg, args.cfg)
    folder = run_folder(cfg, args.cfg, cfg.dataset.test_image_set)
    with start_run(cfg, folder, params) as cfg:
        paths = args.proposals or proposal_paths(cfg, args.cfg, cfg.dataset.test_image_set)
        (_, path), = sets_with_files(cfg, cfg.dataset.test_image_set, paths)
        test_given(cfg, folder, params, path)


if __name__ == '__main__':
    run_script(main)
