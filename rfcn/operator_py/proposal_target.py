"""Operator 'proposal_target': labels and box targets of the RoIs, by `lib/rcnn/sample_rois.py`."""
import json

import mxnet as mx

from lib.rcnn.sample_rois import proposal_target as compute_targets
from rfcn.operator_py import HostProperty, NoGradient, random_sources


def proposal_target(rois, gt_boxes, num_reg_classes, batch_rois, **settings):
    """Sample the RoIs of each image and give each a class and a box to predict.

    Args:
        rois: (B*R, 5). gt_boxes: (B, G, 5); rows of class -1 are padding.
        batch_rois: RoIs kept over all images, -1 for all of them and the objects themselves.
        settings: further keywords of `lib.rcnn.sample_rois.proposal_target`.
    Returns:
        rois (N, 5), label (N,), bbox_target (N, 4 * num_reg_classes), bbox_weight of the same shape.
    """
    return mx.sym.Custom(rois=rois, gt_boxes=gt_boxes, op_type='proposal_target', name='proposal_target',
                         num_reg_classes=num_reg_classes, batch_rois=batch_rois, settings=json.dumps(settings))


class ProposalTargetOperator(NoGradient):
    """Copies to the host, computes, copies back. The RoIs are taken as given."""

    def __init__(self, settings, device):
        super().__init__()
        self.settings = settings
        self.device = device

    def forward(self, is_train, req, in_data, out_data, aux):
        rois, gt_boxes = (x.asnumpy() for x in in_data)
        rng = random_sources(self.device, len(gt_boxes))
        for i, value in enumerate(compute_targets(rois, gt_boxes, rng=rng, **self.settings)):
            self.assign(out_data[i], req[i], mx.nd.array(value))


@mx.operator.register('proposal_target')
class ProposalTargetProperty(HostProperty):
    """Names and shapes of the operator 'proposal_target'."""

    def __init__(self, num_reg_classes, batch_rois, settings):
        super().__init__()
        self.num_reg_classes = int(num_reg_classes)
        self.batch_rois = int(batch_rois)
        self.settings = json.loads(settings)

    def list_arguments(self):
        return ['rois', 'gt_boxes']

    def list_outputs(self):
        return ['rois_output', 'label', 'bbox_target', 'bbox_weight']

    def infer_shape(self, in_shape):
        rois, gt_boxes = in_shape
        rows = rois[0] + gt_boxes[0] * gt_boxes[1] if self.batch_rois == -1 else self.batch_rois
        targets = [rows, 4 * self.num_reg_classes]
        return [rois, gt_boxes], [[rows, 5], [rows], targets, targets], []

    def create_operator(self, ctx, shapes, dtypes):
        settings = dict(self.settings, num_classes=self.num_reg_classes, batch_rois=self.batch_rois)
        return ProposalTargetOperator(settings, ctx)
