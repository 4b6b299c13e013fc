"""Operators on the RPN's output, on the host, by `lib/rpn/proposal.py`.

'proposal' makes RoIs, as contrib.MultiProposal does; 'best_anchors' gives what a class-specific RPN found as the
outputs of R-FCN.
"""
import json

import mxnet as mx
import numpy as np

from lib.bbox.bbox_transform import MAX_LOG_RATIO
from lib.errors import ConfigError
from lib.rpn import proposal as rule
from lib.rpn.anchors import generate_anchors
from rfcn.operator_py import HostProperty, NoGradient, random_sources

BOX_SETS = 2  # background and object, as of class-agnostic R-FCN; the first is 0


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


def native_ratios(stride, ratios, scales):
    """Ratios of which mx.sym.contrib.MultiProposal makes the anchors of `generate_anchors`: mostly `ratios` themselves.

    It cuts off the fraction of stride^2 / ratio before it takes the root, and rounds halves up. So 1.4 gives 13 x 18
    pixels at stride 16 there and 14 x 20 here, and 1.396 gives 14 x 20 in both.

    Raises:
        ConfigError: for one of them there is none.
    """
    # Departure: in the release the operator moves its own anchors, also where the RPN was trained on other ones.
    return tuple(_native_ratio(stride, ratio, scales) for ratio in ratios)


def _native_ratio(stride, ratio, scales):
    x1, y1, x2, y2 = generate_anchors(stride, (ratio,), (1,))[0].tolist()
    width, height = x2 - x1 + 1, y2 - y1 + 1
    # It makes this width of ratios between the first two numbers, and this height of those between the others.
    least = max(stride ** 2 / (width * (width + 1) + 1), (height - 0.5) / width)
    most = min(stride ** 2 / (width * (width - 1) + 1), (height + 0.5) / width)
    for candidate in ratio, (least + most) / 2:
        if all(_native_sides(stride, candidate, scale) == (width, height) for scale in scales):
            return candidate
    raise ConfigError("network.ANCHOR_RATIOS: MXNet's own operator makes no anchors of %d x %d pixels (ratio %g). Take "
                      'another ratio near by, or the Python operator: TRAIN.CXX_PROPOSAL and TEST.CXX_PROPOSAL false. '
                      'Plain MXNet has no other one; a network that was trained with this ratio can leave as ONNX'
                      % (width, height, ratio))


def _native_sides(stride, ratio, scale):
    """Width and height of an anchor of MXNet's own operator over its scale, by its arithmetic, which is float32."""
    ratio, scale, half = np.float32(ratio), np.float32(scale), np.float32(0.5)
    width = np.floor(np.sqrt(np.floor(np.float32(stride ** 2) / ratio)) + half)
    return width, np.floor(width * scale / scale * ratio + half)


def without_repetition(rows):
    """The rows (n, m) in their order, each once: the operators repeat rows where they find too few."""
    _, first = np.unique(rows, axis=0, return_index=True)
    return rows[np.sort(first)]


class ProposalOperator(NoGradient):
    """Copies to the host, proposes image by image, copies back."""

    def __init__(self, base_anchors, settings, device):
        super().__init__()
        self.base_anchors = base_anchors
        self.settings = settings
        self.device = device

    def forward(self, is_train, req, in_data, out_data, aux):
        cls_prob, bbox_pred, im_info = (x.asnumpy() for x in in_data)
        num_anchors = len(self.base_anchors)
        rois, scores = [], []
        for i, rng in enumerate(random_sources(self.device, len(cls_prob))):
            boxes, box_scores = rule.propose(cls_prob[i, num_anchors:], bbox_pred[i], im_info[i], rng=rng,
                                             base_anchors=self.base_anchors, **self.settings)
            rois.append(np.insert(boxes, 0, i, axis=1))
            scores.append(box_scores)
        for i, value in enumerate((rois, scores)[:len(out_data)]):
            self.assign(out_data[i], req[i], mx.nd.array(np.concatenate(value)))


class RPNOutputProperty(HostProperty):
    """Inputs and anchors of both operators; scales, ratios and settings are JSON."""

    def __init__(self, scales, ratios, settings):
        super().__init__()
        self.settings = json.loads(settings)
        self.base_anchors = generate_anchors(self.settings['stride'], json.loads(ratios), json.loads(scales))

    def list_arguments(self):
        return ['cls_prob', 'bbox_pred', 'im_info']


@mx.operator.register('proposal')
class ProposalProperty(RPNOutputProperty):
    """Names and shapes of the operator 'proposal'."""

    def __init__(self, scales, ratios, settings, output_score):
        super().__init__(scales, ratios, settings)
        self.output_score = json.loads(output_score)

    def list_outputs(self):
        return ['output', 'score'] if self.output_score else ['output']

    def infer_shape(self, in_shape):
        cls_prob, bbox_pred = in_shape[:2]
        rows = cls_prob[0] * self.settings['post_nms_top_n']
        outputs = [[rows, 5], [rows, 1]]
        return [cls_prob, bbox_pred, [cls_prob[0], 3]], outputs[:len(self.list_outputs())], []

    def create_operator(self, ctx, shapes, dtypes):
        return ProposalOperator(self.base_anchors, self.settings, ctx)


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
            anchors, prob, deltas = rule.best_anchors(*inputs, base_anchors=self.base_anchors, **self.settings)
            deltas = np.hstack((np.zeros_like(deltas), deltas))
            found.append((np.insert(anchors, 0, i, axis=1), prob[None], deltas[None]))
        for i, values in enumerate(zip(*found)):
            self.assign(out_data[i], req[i], mx.nd.array(np.concatenate(values)))


@mx.operator.register('best_anchors')
class BestAnchorsProperty(RPNOutputProperty):
    """Names and shapes of the operator 'best_anchors'."""

    def list_outputs(self):
        return ['rois', 'cls_prob', 'bbox_pred']

    def infer_shape(self, in_shape):
        images, classes = in_shape[0][:2]
        count = self.settings['count']
        outputs = [[images * count, 5], [images, count, classes], [images, count, 4 * BOX_SETS]]
        return [in_shape[0], in_shape[1], [images, 3]], outputs, []

    def create_operator(self, ctx, shapes, dtypes):
        return BestAnchorsOperator(self.base_anchors, self.settings)
