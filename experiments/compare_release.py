"""Compare this project with the original's numbers: `python experiments/compare_release.py --vectors DIR [--only NAME]`.

DIR holds arrays and parameters that the original's own code computed; experiments/compare/FORMAT.md describes them. Prints a table,
a row for each array, and exits with 1 if a number falls short or anything in DIR is not understood.
"""
import sys
from pathlib import Path

if __package__ in (None, ''):
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a file: the folder of rfcn, lib and experiments

import argparse
import time

from experiments.compare import boxes, coco, detections, graphs, images, networks, proposals, targets, training, voc
from experiments.compare.report import DEPARTS, OK, SHORT, UNKNOWN, Report
from experiments.compare.vectors import Vector

CASES = {
    'anchors': boxes.check_anchors,
    'boxes': boxes.check_boxes,
    'nms': boxes.check_nms,
    'assign_anchor': targets.check_assign_anchor,
    'sample_rois': targets.check_sample_rois,
    'proposal_target': targets.check_proposal_target,
    'proposal': proposals.check_proposal,
    'image': images.check_image,
    'ohem': training.check_ohem,
    'checkpoint': training.check_checkpoint,
    'metrics': training.check_metrics,
    'lr': training.check_lr,
    'loader_order': training.check_loader_order,
    'postprocess': detections.check_postprocess,
    'voc_eval': voc.check_voc_eval,
    'coco_eval': coco.check_coco_eval,
    'symbols': graphs.check_symbols,
    'expand_targets': targets.check_expand_targets,
    'bbox_regression': targets.check_bbox_regression,
}
COMPANIONS = ('README.md', 'paramgen.py', 'images', 'small.png')


def compare_release(directory, only=None, stream=None):
    """Compare with all vectors of a directory, or those whose name is `only`. Returns whether all is near enough."""
    report = Report(stream)
    started = time.time()
    for name in sorted(vector_names(directory), key=order):
        if only in (None, name):
            check_vector(Vector(directory, name), report)
    report.case = ''
    print('\n%d rows: %s; %.0f s' % (sum(report.counts.values()), ', '.join('%d %s' % item[::-1] for item in report.counts.items()),
                                     time.time() - started), file=report.stream)
    return report.passed


def vector_names(directory):
    return {path.stem for path in directory.iterdir() if path.suffix in ('.npz', '.json')}


def order(name):
    names = list(CASES)
    return names.index(name) if name in names else len(names), name


def check_vector(vector, report):
    report.case = vector.name
    check = networks.check_network if vector.name.startswith('net_') else CASES.get(vector.name)
    if check is None:
        report.not_understood('%s' % vector.name)
        return
    try:
        check(vector, report)
    except Exception as error:
        import traceback; traceback.print_exc()
        report.failed('', error)
        return
    for name in vector.not_understood():
        report.not_understood(name)


def main(argv=None):
    """Entry point. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--vectors', required=True, type=Path)
    parser.add_argument('--only')
    args = parser.parse_args(argv)
    return 0 if compare_release(args.vectors, args.only) else 1


if __name__ == '__main__':
    sys.exit(main())
