"""An RPN that tells the classes: what its anchors should answer, and which of them are worth a look."""
import numpy as np

from lib.bbox.bbox_transform import bbox_overlaps
from lib.nms.nms import decreasing_order
from lib.rpn.generate_anchor import shifted_anchors


def class_labels(labels, anchors, gt_boxes):
    """The labels of `assign_anchor` with the class of the object in place of 1.

    Args:
        labels: (K,) float32; 1 positive, 0 negative, -1 ignored.
        anchors: (K, 4) float32.
        gt_boxes: (G, 5) boxes and their classes; rows of a negative class are padding.
    Returns:
        (K,) float32; for a positive the class of the object that it overlaps most, whose box it learns too.
    """
    result = labels.copy()
    positive = np.flatnonzero(labels == 1)
    gt_boxes = gt_boxes[gt_boxes[:, 4] >= 0]
    if len(positive):
        result[positive] = gt_boxes[bbox_overlaps(anchors[positive], gt_boxes[:, :4]).argmax(axis=1), 4]
    return result


def best_anchors(prob, deltas, im_info, *, base_anchors, stride, count):
    """The `count` anchors of an image that are the least likely to be background.

    Args:
        prob: (C, A * H, W) float32, probabilities of the classes at each anchor, A maps of a class one after the other.
        deltas: (4 * A, H, W) float32, the four deltas of one anchor together.
        im_info: height and width of the image in pixels of the network's input; what lies beyond is padding.
        base_anchors: (A, 4) anchors of the first cell.
        stride: pixels from one cell to the next.
    Returns:
        anchors (count, 4), probabilities (count, C), deltas (count, 4), all float32. Where there are fewer anchors,
        rows of 0 follow: the probability of every class is 0 there.
    """
    num_anchors, (height, width) = len(base_anchors), deltas.shape[1:]
    anchors = shifted_anchors(height, width, stride, base_anchors)
    prob = prob.reshape(-1, num_anchors, height, width).transpose(2, 3, 1, 0).reshape(len(anchors), -1)
    deltas = deltas.transpose(1, 2, 0).reshape(-1, 4)
    rows, columns = max(int(im_info[0] / stride), 1), max(int(im_info[1] / stride), 1)
    inside = np.zeros((height, width, num_anchors), dtype=bool)
    inside[:rows, :columns] = True
    candidates = np.flatnonzero(inside)
    best = candidates[decreasing_order(-prob[candidates, 0])[:count]]
    missing = ((0, count - len(best)), (0, 0))
    return tuple(np.pad(values[best], missing, mode='constant') for values in (anchors, prob, deltas))
