"""Operator 'proposal': RoIs from the RPN's output on the host, by `lib/rpn/proposal.py`.

It is the alternative to contrib.MultiProposal.
"""
import json

import mxnet as mx
import numpy as np

from lib.bbox.bbox_transform import MAX_LOG_RATIO
from lib.rpn.generate_anchor import generate_anchors
from lib.rpn.proposal import propose
from rfcn.operator_py import draws


def proposal(cls_prob, bbox_pred, im_info, name, feature_stride, scales, ratios, rpn_pre_nms_top_n, rpn_post_nms_top_n,
             threshold, rpn_min_size, output_score=False, max_log_ratio=MAX_LOG_RATIO):
    """Inputs, settings and outputs of mx.sym.contrib.MultiProposal: rois (B * post, 5) and, if asked for, scores.

    Args:
        max_log_ratio: see `lib.bbox.bbox_transform.nonlinear_pred`.
    """
    settings = dict(stride=feature_stride, pre_nms_top_n=rpn_pre_nms_top_n, post_nms_top_n=rpn_post_nms_top_n,
                    nms_thresh=threshold, min_size=rpn_min_size, max_log_ratio=max_log_ratio)
    return mx.sym.Custom(cls_prob=cls_prob, bbox_pred=bbox_pred, im_info=im_info, name=name, op_type='proposal',
                         scales=json.dumps(list(scales)), ratios=json.dumps(list(ratios)),
                         settings=json.dumps(settings), output_score=json.dumps(output_score))


class ProposalOperator(mx.operator.CustomOp):
    """Copies to the host, proposes image by image, copies back. There is no gradient."""

    def __init__(self, base_anchors, settings, device):
        super().__init__()
        self.base_anchors = base_anchors
        self.settings = settings
        self.device = device

    def forward(self, is_train, req, in_data, out_data, aux):
        cls_prob, bbox_pred, im_info = (x.asnumpy() for x in in_data)
        num_anchors = len(self.base_anchors)
        rois, scores = [], []
        for i, rng in enumerate(draws.sources(self.device, len(cls_prob))):
            boxes, box_scores = propose(cls_prob[i, num_anchors:], bbox_pred[i], im_info[i], rng=rng,
                                        base_anchors=self.base_anchors, **self.settings)
            rois.append(np.insert(boxes, 0, i, axis=1))
            scores.append(box_scores)
        for i, value in enumerate((rois, scores)[:len(out_data)]):
            self.assign(out_data[i], req[i], mx.nd.array(np.concatenate(value)))

    def backward(self, req, out_grad, in_data, out_data, in_grad, aux):
        for gradient, request in zip(in_grad, req):
            self.assign(gradient, request, 0)


@mx.operator.register('proposal')
class ProposalProperty(mx.operator.CustomOpProp):
    """Names and shapes of the operator 'proposal'."""

    def __init__(self, scales, ratios, settings, output_score):
        super().__init__(need_top_grad=False)
        self.settings = json.loads(settings)
        self.base_anchors = generate_anchors(self.settings['stride'], json.loads(ratios), json.loads(scales))
        self.output_score = json.loads(output_score)

    def list_arguments(self):
        return ['cls_prob', 'bbox_pred', 'im_info']

    def list_outputs(self):
        return ['output', 'score'] if self.output_score else ['output']

    def infer_shape(self, in_shape):
        cls_prob, bbox_pred = in_shape[:2]
        rows = cls_prob[0] * self.settings['post_nms_top_n']
        outputs = [[rows, 5], [rows, 1]]
        return [cls_prob, bbox_pred, [cls_prob[0], 3]], outputs[:len(self.list_outputs())], []

    def create_operator(self, ctx, shapes, dtypes):
        return ProposalOperator(self.base_anchors, self.settings, ctx)

    def declare_backward_dependency(self, out_grad, in_data, out_data):
        return []
