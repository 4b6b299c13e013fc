"""COCO's evaluation of boxes, computed by pycocotools."""
import contextlib
import io

from pycocotools.coco import COCO as CocoIndex
from pycocotools.cocoeval import COCOeval

from lib.dataset.imdb import Evaluation

# The 12 numbers of COCO in the order of pycocotools: average precision, and average recall with 1, 10, 100 detections.
STATISTICS = ('AP', 'AP50', 'AP75', 'AP_small', 'AP_medium', 'AP_large',
              'AR1', 'AR10', 'AR100', 'AR_small', 'AR_medium', 'AR_large')
IOU_50 = 0      # the first of the ten IoU thresholds 0.50, 0.55 ... 0.95
ALL_AREAS, MAX_100 = 0, -1


def evaluate_results(data, results, category_ids):
    """Evaluate detections of boxes.

    Args:
        data: dict, the annotations, as `read_coco_json` returns them.
        results: list of dicts image_id, category_id, bbox, score.
        category_ids: dict of class name -> id in `data`; only these classes are evaluated.
    Returns:
        Evaluation. Metrics: STATISTICS, 'mAP@0.5' (AP50 again), 'AP/<class>' and 'AP@0.5/<class>'; NaN where there are
        no such objects. The score is AP, the mean over IoU 0.50 to 0.95.
    """
    with contextlib.redirect_stdout(io.StringIO()):             # pycocotools prints its progress
        truth = _index(data)
        found = truth.loadRes(results) if results else _index(dict(data, annotations=[]))
        evaluation = COCOeval(truth, found, 'bbox')
        evaluation.params.catIds = sorted(category_ids.values())
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    metrics = {name: _or_nan(value) for name, value in zip(STATISTICS, evaluation.stats)}
    metrics['mAP@0.5'] = metrics['AP50']
    precision = evaluation.eval['precision'][:, :, :, ALL_AREAS, MAX_100]          # (IoUs, recalls, classes)
    for name, identifier in category_ids.items():
        of_class = precision[:, :, evaluation.params.catIds.index(identifier)]
        metrics['AP/' + name] = _mean(of_class)
        metrics['AP@0.5/' + name] = _mean(of_class[IOU_50])
    return Evaluation(metrics['AP'], metrics, _table(metrics, category_ids))


def _index(data):
    index = CocoIndex()
    index.dataset = data
    index.createIndex()
    return index


def _or_nan(value):
    """pycocotools writes -1 for what there are no objects to judge by."""
    return float(value) if value > -1 else float('nan')


def _mean(precision):
    return _or_nan(precision[precision > -1].mean() if (precision > -1).any() else -1)


def _table(metrics, category_ids):
    width = max(map(len, list(category_ids) + ['class']))
    lines = ['%-*s%9s%9s' % (width, 'class', 'AP', 'AP50')]
    lines += ['%-*s%9.4f%9.4f' % (width, name, metrics['AP/' + name], metrics['AP@0.5/' + name])
              for name in category_ids]
    lines += ['%-*s%9.4f%9.4f' % (width, 'mean', metrics['AP'], metrics['AP50'])]
    return '\n'.join(lines + ['%s %.4f' % (name, metrics[name]) for name in STATISTICS])
