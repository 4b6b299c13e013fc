"""The release's six training metrics, from the outputs and labels of one step, found by name."""
import collections

import mxnet as mx
import numpy as np

from lib.bbox.bbox_transform import IGNORE_LABEL
from lib.rcnn.sample_rois import LOG_FLOOR

RPN_METRICS = ('RPNAcc', 'RPNLogLoss', 'RPNL1Loss')
RCNN_METRICS = ('RCNNAcc', 'RCNNLogLoss', 'RCNNL1Loss')


def classification(prob, label):
    """How many rows are right, the sum of their log losses, and their number; rows of label -1 do not count.

    Args:
        prob: (N, C). label: (N,).
    """
    kept = np.where(label != IGNORE_LABEL)[0]
    label = label[kept].astype(int)
    prob = prob[kept]
    right = np.sum(prob.argmax(axis=1) == label)
    return float(right), float(np.sum(-np.log(prob[np.arange(len(kept)), label] + LOG_FLOOR))), len(kept)


class TrainingMetrics:
    """Running means of RPNAcc, RPNLogLoss, RPNL1Loss, RCNNAcc, RCNNLogLoss, RCNNL1Loss.

    Metrics without outputs in the graph are left out. All are means over the rows that are not ignored, the box losses
    too: over sampled anchors, and over RoIs that were sampled or that OHEM kept.
    Source: the release's core/metric.py.
    """

    def __init__(self):
        self.reset()

    def reset(self):
        """Forget all steps."""
        self.sums = {}
        self.counts = collections.Counter()

    def update(self, labels, outputs):
        """Add one step.

        Args:
            labels, outputs: see `measure`.
        Returns:
            dict, the metrics of this step alone.
        """
        return self.add(measure(labels, outputs))

    def add(self, measured):
        """Add one step, as the sum of what `measure` gives for each device. Returns as `update`."""
        for name, (total, count) in measured.items():
            self.sums[name] = self.sums.get(name, 0.0) + total
            self.counts[name] += count
        return {name: _ratio(*pair) for name, pair in measured.items()}

    def get(self):
        """Name -> mean over the steps since `reset`."""
        return {name: _ratio(total, self.counts[name]) for name, total in self.sums.items()}


def measure(labels, outputs):
    """What a step adds to each metric that it has outputs for: name -> (sum, number of rows).

    Args:
        labels, outputs: name -> array (NumPy or NDArray) of one device. Labels: rpn_label, rcnn_label; the latter is
            an output end to end.
    """
    values = {name: x.asnumpy() if isinstance(x, mx.nd.NDArray) else np.asarray(x)
              for name, x in dict(labels, **outputs).items()}
    measured = {}
    if 'rpn_cls_prob' in values:
        prob = np.moveaxis(values['rpn_cls_prob'], 1, -1)  # [B, A*H, W, 2], or C where the RPN tells the classes
        measured.update(_pairs(RPN_METRICS, prob, values['rpn_label'], values['rpn_bbox_loss']))
    if 'cls_prob' in values:
        measured.update(_pairs(RCNN_METRICS, values['cls_prob'], values['rcnn_label'], values['bbox_loss']))
    return measured


def _pairs(names, prob, label, bbox_loss):
    right, log_loss, count = classification(prob.reshape(-1, prob.shape[-1]), label.ravel())
    return [(name, (total, count)) for name, total in zip(names, (right, log_loss, float(np.sum(bbox_loss))))]


def _ratio(total, count):
    return total / count if count else total  # nothing counted: 0, or a non-finite sum that must be seen
