"""Operator 'best_anchors': what a class-specific RPN found, as R-FCN's outputs, by `lib/rpn/proposal.py`."""
import json

import mxnet as mx
import numpy as np

from lib.rpn import proposal
from lib.rpn.generate_anchor import generate_anchors

BOX_SETS = 2  # background and object, as of class-agnostic R-FCN; the first is 0


def best_anchors(cls_prob, bbox_pred, im_info, name, count, stride, scales, ratios):
    """The `count` anchors of each image that are the least likely to be background.

    Args:
        cls_prob: (B, C, A*H, W). bbox_pred: (B, 4A, H, W). im_info: (B, 3).
    Returns:
        rois (B * count, 5), the anchors; cls_prob (B, count, C); bbox_pred (B, count, 8).
    """
    return mx.sym.Custom(cls_prob=cls_prob, bbox_pred=bbox_pred, im_info=im_info, name=name, op_type='best_anchors',
                         scales=json.dumps(list(scales)), ratios=json.dumps(list(ratios)),
                         settings=json.dumps(dict(count=count, stride=stride)))


class BestAnchorsOperator(mx.operator.CustomOp):
    """Copies to the host, chooses image by image, copies back. For testing alone: there is no gradient."""

    def __init__(self, base_anchors, settings):
        super().__init__()
        self.base_anchors = base_anchors
        self.settings = settings

    def forward(self, is_train, req, in_data, out_data, aux):
        found = []
        for i, inputs in enumerate(zip(*(x.asnumpy() for x in in_data))):
            anchors, prob, deltas = proposal.best_anchors(*inputs, base_anchors=self.base_anchors, **self.settings)
            deltas = np.hstack((np.zeros_like(deltas), deltas))
            found.append((np.insert(anchors, 0, i, axis=1), prob[None], deltas[None]))
        for i, values in enumerate(zip(*found)):
            self.assign(out_data[i], req[i], mx.nd.array(np.concatenate(values)))


@mx.operator.register('best_anchors')
class BestAnchorsProperty(mx.operator.CustomOpProp):
    """Names and shapes of the operator 'best_anchors'."""

    def __init__(self, settings, scales, ratios):
        super().__init__(need_top_grad=False)
        self.settings = json.loads(settings)
        self.base_anchors = generate_anchors(self.settings['stride'], json.loads(ratios), json.loads(scales))

    def list_arguments(self):
        return ['cls_prob', 'bbox_pred', 'im_info']

    def list_outputs(self):
        return ['rois', 'cls_prob', 'bbox_pred']

    def infer_shape(self, in_shape):
        images, classes = in_shape[0][:2]
        count = self.settings['count']
        outputs = [[images * count, 5], [images, count, classes], [images, count, 4 * BOX_SETS]]
        return [in_shape[0], in_shape[1], [images, 3]], outputs, []

    def create_operator(self, ctx, shapes, dtypes):
        return BestAnchorsOperator(self.base_anchors, self.settings)
