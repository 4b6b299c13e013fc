"""Online hard example mining, in NumPy: what the operator of the network must equal."""
import numpy as np

from lib.bbox.bbox_transform import IGNORE_LABEL
from lib.nms.nms import decreasing_order

LOG_FLOOR = 1e-14      # keeps the logarithm of a probability that underflowed finite, as in the release


def box_annotator_ohem(cls_score, bbox_pred, labels, bbox_targets, bbox_weights, *, roi_per_img):
    """Let only the RoIs of the highest loss train (R-FCN, section 2.2, "training").

    The loss of a RoI is the cross-entropy of its class and the smooth L1 of its box. RoIs of equal loss are taken in
    the order of `decreasing_order`.

    Args:
        cls_score: (R, C) float32, before the softmax.
        bbox_pred: (R, 4 * M) float32.
        labels: (R,) float32; -1 for RoIs that must not train, which are never taken.
        bbox_targets, bbox_weights: (R, 4 * M) float32.
        roi_per_img: number of RoIs that train; all if there are fewer.
    Returns:
        labels: (R,) a copy, -1 for those that do not train.
        bbox_weights: (R, 4 * M) a copy, 0 for those that do not train.
    """
    loss = cross_entropy(cls_score, labels) + (bbox_weights * smooth_l1(bbox_pred - bbox_targets)).sum(axis=1)
    # Departure: the release has no RoIs of label -1; it would take the last class for theirs.
    loss[labels < 0] = -np.inf
    easy = decreasing_order(loss)[roi_per_img:]
    labels_ohem, bbox_weights_ohem = labels.copy(), bbox_weights.copy()
    labels_ohem[easy] = IGNORE_LABEL
    bbox_weights_ohem[easy] = 0
    bbox_weights_ohem[labels < 0] = 0
    return labels_ohem, bbox_weights_ohem


def cross_entropy(cls_score, labels):
    """Minus the logarithm of the softmax of each row (R, C) at its label, (R,); label -1 is taken for 0."""
    exponentials = np.exp(cls_score - cls_score.max(axis=1, keepdims=True))
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    classes = np.maximum(labels, 0).astype(int)
    return -np.log(probabilities[np.arange(len(labels)), classes] + LOG_FLOOR)


def smooth_l1(x):
    """x^2 / 2 between -1 and 1, |x| - 1/2 outside (Fast R-CNN, equation 3)."""
    return np.where(np.abs(x) < 1, 0.5 * x * x, np.abs(x) - 0.5)
