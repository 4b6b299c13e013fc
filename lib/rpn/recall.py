"""How good proposals are: the part of the objects that they find."""
import numpy as np

from lib.bbox.bbox_transform import bbox_overlaps

THRESHOLDS = tuple(np.arange(10, 20) / 20)  # 0.5, 0.55, ... 0.95: those of COCO and of the release
# Name -> the least area of an object in pixels, and the least that is too much. The release's classes of size.
AREAS = {'0-25': (0, 25 ** 2), '25-50': (25 ** 2, 50 ** 2), '50-100': (50 ** 2, 100 ** 2),
         '100-200': (100 ** 2, 200 ** 2), '200-300': (200 ** 2, 300 ** 2), '300-inf': (300 ** 2, np.inf)}


def best_overlaps(proposals, boxes):
    """The IoU with which each object is found, if a proposal can find one object only.

    The pair of highest IoU is matched first, then the best pair of what is left, until objects or proposals are used
    up.

    Args:
        proposals: (N, 4 or more) boxes.
        boxes: (G, 4) objects.
    Returns:
        (G,) float64; 0 for an object that is left over.
    Source: the release's IMDB.evaluate_recall.
    """
    overlaps = bbox_overlaps(proposals, boxes)
    found = np.zeros(len(boxes))
    for _ in range(min(overlaps.shape)):
        proposal, box = np.unravel_index(overlaps.argmax(), overlaps.shape)
        found[box] = overlaps[proposal, box]
        overlaps[proposal] = overlaps[:, box] = -1
    return found


def recall(all_proposals, all_boxes, counts, thresholds=THRESHOLDS, area=(0, np.inf)):
    """Part of the objects that are found with at least each IoU by the first proposals of each image.

    Args:
        all_proposals: list over images of (n, 4 or more), the best first.
        all_boxes: list over images of (G, 4) objects.
        counts: how many proposals of an image are looked at.
        thresholds: IoU.
        area: pixels; only objects of at least the first and less than the second count.
    Returns:
        (len(counts), len(thresholds)) float64; NaN where there is no object. The mean over the thresholds is the
        average recall.
    """
    all_boxes = [boxes[_within(boxes, area)] for boxes in all_boxes]
    pairs = list(zip(all_proposals, all_boxes))
    found = np.array([np.concatenate([best_overlaps(proposals[:count], boxes) for proposals, boxes in pairs])
                      for count in counts])                                             # (len(counts), all objects)
    if found.shape[1] == 0:
        return np.full((len(counts), len(thresholds)), np.nan)
    return np.stack([(found >= thresh).mean(axis=1) for thresh in thresholds], axis=1)


def _within(boxes, area):
    areas = (boxes[:, 2] - boxes[:, 0] + 1) * (boxes[:, 3] - boxes[:, 1] + 1)
    return (areas >= area[0]) & (areas < area[1])


def recall_table(all_proposals, all_boxes, counts, thresholds=(0.5, 0.6, 0.7, 0.8, 0.9)):
    """Text: recall by the number of proposals, and with the largest number by the size of the objects.

    AR is the average recall.

    Args: see `recall`.
    """
    rows = [['proposals'] + ['IoU %g' % thresh for thresh in thresholds] + ['AR']]
    for count in counts:
        rows.append(_row('%d' % count, all_proposals, all_boxes, count, thresholds))
    for name, area in AREAS.items():
        rows.append(_row('size %s' % name, all_proposals, all_boxes, max(counts), thresholds, area))
    title = '%d images, %d objects, %.1f proposals an image' % (
        len(all_boxes), sum(map(len, all_boxes)), np.mean([len(proposals) for proposals in all_proposals]))
    return '\n'.join([title] + ['%-13s' % row[0] + ''.join('%9s' % cell for cell in row[1:]) for row in rows])


def _row(name, all_proposals, all_boxes, count, thresholds, area=(0, np.inf)):
    wanted = tuple(thresholds) + THRESHOLDS
    values, = recall(all_proposals, all_boxes, [count], wanted, area)
    return [name] + ['-' if np.isnan(value) else '%.3f' % value
                     for value in list(values[:len(thresholds)]) + [values[len(thresholds):].mean()]]
