"""Compare with the original's numbers: `rfcn compare [--vectors DIR] [--only NAME] [--images DIR]`.

DIR, by default tests/vectors/release, holds what the original's own code computed, and from what;
experiments/compare/FORMAT.md describes it. Prints a row for each array. Exits with 1 if a number falls short or
anything in DIR is not understood. experiments/compare/recorder.py writes such a folder in a checkout of the original.
"""
import sys
from pathlib import Path

if __package__ in (None, ''):
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a file: the folder of experiments, rfcn and lib

import logging
import time

from experiments.compare import boxes, datasets, graphs, images, networks, proposals, targets, training
from experiments.compare.pictures import NoPicture, Pictures
from experiments.compare.report import Report
from experiments.compare.vectors import Vector
from rfcn.cli.script import make_parser, run_script

logger = logging.getLogger(__name__)

OWN = Path(__file__).resolve().parents[1] / 'tests' / 'vectors' / 'release'

CASES = {
    'anchors': boxes.check_anchors,
    'boxes': boxes.check_boxes,
    'nms': boxes.check_nms,
    'image': images.check_image,
    'assign_anchor': targets.check_assign_anchor,
    'sample_rois': targets.check_sample_rois,
    'expand_targets': targets.check_expand_targets,
    'bbox_regression': targets.check_bbox_regression,
    'proposal': proposals.check_proposal,
    'proposal_target': targets.check_proposal_target,
    'ohem': training.check_ohem,
    'checkpoint': training.check_checkpoint,
    'metrics': training.check_metrics,
    'lr': training.check_lr,
    'loader_order': training.check_loader_order,
    'postprocess': boxes.check_postprocess,
    'voc_eval': datasets.check_voc_eval,
    'coco_eval': datasets.check_coco_eval,
    'symbols': graphs.check_symbols,
}
NETWORK = 'net_'  # followed by any name
# Files beside the vectors, and the vector that reads them; None: nobody needs to.
COMPANIONS = {'README.md': None, 'paramgen.py': None, 'images': None, 'small.png': 'image', 'voc_det_*.txt': 'voc_eval'}


def compare_release(directory, only=None, stream=None, pictures=None):
    """Compare with the vectors of a directory.

    Args:
        directory: pathlib.Path. only: name of a vector; None for all.
        pictures: folder of the photographs that the vectors were computed from; by default `images` in the directory.
            What needs one that is not there is left out, and said to be.
        stream: where the table goes; None for standard output.
    Returns:
        whether there was something to compare and all of it is near enough and understood.
    """
    report, started = Report(stream), time.time()
    names, unknown = list_vectors(directory)
    for name in names:
        if only in (None, name):
            check_vector(directory, name, Pictures(pictures or directory / 'images'), report)
    report.start('')
    for path in unknown if only is None else ():
        report.not_understood(path)
    report.summarise('%.0f s; vectors: %s' % (time.time() - started, ', '.join(names) or 'none'))
    return report.passed


def list_vectors(directory):
    """Names of the vectors in the order of CASES, networks last; and of the files that belong to none of them."""
    paths = sorted(directory.iterdir())
    names = {name for name in map(vector_name, paths) if name}
    known = {path for pattern, reader in COMPANIONS.items() if reader in names or reader is None
             for path in directory.glob(pattern)}
    unknown = [path.name for path in paths if path not in known and not vector_name(path)]
    return [name for name in CASES if name in names] + sorted(names - set(CASES)), unknown


def vector_name(path):
    """Name of the vector that a file belongs to, None if it is of no vector."""
    is_vector = path.suffix in ('.npz', '.json') and (path.stem in CASES or path.stem.startswith(NETWORK))
    return path.stem if is_vector else None


def check_vector(directory, name, pictures, report):
    """All rows of one vector of a directory, then what is in it and was not read."""
    report.start(name)
    try:
        vector = Vector(directory, name, pictures)
        CASES.get(name, networks.check_network)(vector, report)
    except NoPicture as error:
        report.title = ''
        report.left_out('what needs the photograph', error)
        return
    except Exception as error:  # whatever a vector of another format, or a damaged one, makes the comparison do
        logger.debug('%s', name, exc_info=True)
        report.failed('the comparison stopped', error)
        return
    report.title = ''
    for name in vector.not_understood():
        report.not_understood(name)


def main(argv=None):
    """Entry point. Returns the exit code."""
    parser = make_parser(__doc__.partition('\n')[0])
    parser.add_argument('--vectors', metavar='DIR', default=OWN, type=Path,
                        help="folder of the vectors; default: tests/vectors/release, the original's numbers")
    parser.add_argument('--images', metavar='DIR', type=Path,
                        help="folder of the original's photographs, its demo; default: VECTORS/images")
    parser.add_argument('--only', metavar='NAME', help='one vector, such as nms or net_voc1')
    args = parser.parse_args(argv)
    if not args.vectors.is_dir():
        parser.error('%s: there is no such folder' % args.vectors)
    names, _ = list_vectors(args.vectors)
    if args.only not in [None] + names:
        parser.error('--only: no vector is called %s; there are %s' % (args.only, ', '.join(names) or 'none'))
    logging.basicConfig(level=logging.ERROR)  # the data sets warn of objects that are left out
    return 0 if compare_release(args.vectors, args.only, pictures=args.images) else 1


if __name__ == '__main__':
    run_script(main)
