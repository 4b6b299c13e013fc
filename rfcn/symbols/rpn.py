"""The region proposal network on conv4 (Faster R-CNN, section 3.1): scores, boxes, losses and proposals."""
import functools

import mxnet as mx

from lib.bbox.bbox_transform import IGNORE_LABEL, MAX_LOG_RATIO
from rfcn.operator_py.proposal import proposal

RPN_SMOOTH_L1_SIGMA = 3.0  # smooth L1 turns linear at 1 / sigma^2


def rpn_head(features, num_anchors, channels=512, num_classes=2):
    """Returns rpn_cls_score (B, 2A, H, W), background scores before foreground ones, and rpn_bbox_pred (B, 4A, H, W).

    Args:
        num_classes: C instead of 2 for an RPN that tells the classes: (B, C*A, H, W), class by class.
    """
    x = mx.sym.Convolution(features, name='rpn_conv_3x3', kernel=(3, 3), pad=(1, 1), num_filter=channels)
    x = mx.sym.Activation(x, name='rpn_relu', act_type='relu')
    cls_score = mx.sym.Convolution(x, name='rpn_cls_score', kernel=(1, 1), num_filter=num_classes * num_anchors)
    bbox_pred = mx.sym.Convolution(x, name='rpn_bbox_pred', kernel=(1, 1), num_filter=4 * num_anchors)
    return cls_score, bbox_pred


def two_class_view(cls_score):
    """(B, 2A, H, W) -> (B, 2, A*H, W): background and foreground side by side for the softmax."""
    return mx.sym.Reshape(cls_score, shape=(0, 2, -1, 0), name='rpn_cls_score_reshape')


def rpn_losses(cls_score_two, bbox_pred, label, bbox_target, bbox_weight, batch_size, batch_images):
    """Softmax over the sampled anchors and smooth L1 over the positive ones.

    Args:
        label: (B, A*H*W); 1, 0 or -1 for anchors that do not count.
        batch_size: anchors sampled an image; with `batch_images` it divides the box loss.
    """
    cls_prob = mx.sym.SoftmaxOutput(cls_score_two, label, name='rpn_cls_prob', multi_output=True, normalization='valid',
                                    use_ignore=True, ignore_label=IGNORE_LABEL)
    loss = bbox_weight * mx.sym.smooth_l1(bbox_pred - bbox_target, name='rpn_bbox_loss_', scalar=RPN_SMOOTH_L1_SIGMA)
    # Departure: the release divides by the anchors of one image however many images a device takes; the softmax beside
    # it is a mean over all of them, so the box loss would outgrow it. With one image, its only use, the two are the
    # same.
    bbox_loss = mx.sym.MakeLoss(loss, name='rpn_bbox_loss', grad_scale=1.0 / (batch_size * batch_images))
    return cls_prob, bbox_loss


def rpn_proposals(cls_score_two, bbox_pred, im_info, num_anchors, native, output_score=False,
                  max_log_ratio=MAX_LOG_RATIO, **settings):
    """RoIs from the RPN's output; (B * post_nms_top_n, 5).

    Args:
        native: MXNet's own operator (`CXX_PROPOSAL`), else the Python one; they differ in padding and in the cells at
            the border.
        max_log_ratio: see `lib.bbox.bbox_transform.nonlinear_pred`. MXNet's own operator believes any exponent.
        settings: feature_stride, scales, ratios, rpn_pre_nms_top_n, rpn_post_nms_top_n, threshold, rpn_min_size.
    """
    cls_prob = mx.sym.SoftmaxActivation(cls_score_two, mode='channel', name='rpn_cls_act')
    cls_prob = mx.sym.Reshape(cls_prob, shape=(0, 2 * num_anchors, -1, 0), name='rpn_cls_act_reshape')
    operator = mx.sym.contrib.MultiProposal if native else functools.partial(proposal, max_log_ratio=max_log_ratio)
    return operator(cls_prob=cls_prob, bbox_pred=bbox_pred, im_info=im_info, name='rois', output_score=output_score,
                    **settings)
