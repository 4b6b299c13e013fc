"""The network of R-FCN on a trunk: RPN, head, losses, and the graphs made of them.

RPN: scores, boxes, losses and proposals on conv4 (Faster R-CNN, section 3.1). Head: position-sensitive score maps and
RoI pooling, vote, OHEM, losses (R-FCN, section 2). Graphs: end to end, RPN alone, R-FCN on given RoIs; each for
training and for inference.
"""
import functools

import mxnet as mx

from lib.bbox.bbox_transform import IGNORE_LABEL, MAX_LOG_RATIO
from lib.rcnn.sample_rois import BACKGROUND, LOG_FLOOR
from rfcn.config.config import rois_per_image
from rfcn.operator_py.proposal import native_ratios, proposal
from rfcn.operator_py.proposal_target import proposal_target
from rfcn.symbols.resnet_v1 import CONV4_STRIDE, check_strides, conv5_stride

RPN_SMOOTH_L1_SIGMA = 3.0  # smooth L1 turns linear at 1 / sigma^2
SAMPLES_PER_PART = 4   # deformable pooling: samples per bin and side
TRANS_STD = 0.1        # deformable pooling: offsets are in tenths of the RoI's size


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
        batch_size: anchors sampled per image; with `batch_images` it divides the box loss.
    """
    cls_prob = mx.sym.SoftmaxOutput(cls_score_two, label, name='rpn_cls_prob', multi_output=True, normalization='valid',
                                    use_ignore=True, ignore_label=IGNORE_LABEL)
    loss = bbox_weight * mx.sym.smooth_l1(bbox_pred - bbox_target, name='rpn_bbox_loss_', scalar=RPN_SMOOTH_L1_SIGMA)
    # Departure: the release divides by the anchors of one image, also with several images per device. The softmax
    # beside it is a mean over all images, so the box loss would outgrow it. With one image, as the release trains, the
    # two are the same.
    bbox_loss = mx.sym.MakeLoss(loss, name='rpn_bbox_loss', grad_scale=1.0 / (batch_size * batch_images))
    return cls_prob, bbox_loss


def rpn_proposals(cls_score_two, bbox_pred, im_info, num_anchors, native, output_score=False,
                  max_log_ratio=MAX_LOG_RATIO, **settings):
    """RoIs from the RPN's output; (B * post_nms_top_n, 5).

    Args:
        native: MXNet's own operator (`CXX_PROPOSAL`), else the Python one; they differ in padding and in the cells at
            the border.
        max_log_ratio: see `lib.bbox.bbox_transform.nonlinear_pred`. MXNet's own operator does not clip.
        settings: feature_stride, scales, ratios, rpn_pre_nms_top_n, rpn_post_nms_top_n, threshold, rpn_min_size.
    """
    cls_prob = mx.sym.SoftmaxActivation(cls_score_two, mode='channel', name='rpn_cls_act')
    cls_prob = mx.sym.Reshape(cls_prob, shape=(0, 2 * num_anchors, -1, 0), name='rpn_cls_act_reshape')
    if native:
        operator = mx.sym.contrib.MultiProposal
        settings['ratios'] = native_ratios(settings['feature_stride'], settings['ratios'], settings['scales'])
    else:
        operator = functools.partial(proposal, max_log_ratio=max_log_ratio)
    return operator(cls_prob=cls_prob, bbox_pred=bbox_pred, im_info=im_info, name='rois', output_score=output_score,
                    **settings)


class RFCNHead:
    """k*k*C class maps and k*k*4 box maps per class; the vote is the mean of a RoI's bins.

    Bin (i, j) of a RoI is the mean of map (i, j) alone.

    Args:
        num_classes: C, background included.
        num_reg_classes: sets of box maps: 2 (background, object: class-agnostic) or C.
        bins: k.
        spatial_scale: cells of the feature map per pixel of the image.
        channels: filters of the 1x1 convolution that reduces conv5 (1024 in the paper).
        deformable: deformable PS-RoI pooling with learned offsets, as in the release's resnet_v1_101_rfcn_dcn.
    """

    def __init__(self, num_classes, num_reg_classes, bins=7, spatial_scale=1.0 / 16, channels=1024, deformable=False):
        self.num_classes = num_classes
        self.num_reg_classes = num_reg_classes
        self.bins = bins
        self.spatial_scale = spatial_scale
        self.channels = channels
        self.deformable = deformable

    def reduce(self, conv5):
        """The new 1x1 convolution on conv5.

        Its learning rate is tripled on purpose, as in the release (Caffe's: 1, bias 2).
        """
        x = mx.sym.Convolution(conv5, kernel=(1, 1), num_filter=self.channels, name='conv_new_1',
                               attr={'lr_mult': '3.0'})
        return mx.sym.Activation(x, act_type='relu', name='relu1')

    def predict(self, conv5, rois):
        """(B, F, H, W) and (R, 5) -> cls_score (R, C) and bbox_pred (R, 4 * num_reg_classes)."""
        x = self.reduce(conv5)
        cls_score = self._vote(x, rois, 'rfcn_cls', 'cls', self.num_classes, offset_sets=self.num_classes)
        bbox_pred = self._vote(x, rois, 'rfcn_bbox', 'loc', 4 * self.num_reg_classes, offset_sets=1)
        cls_score = mx.sym.Reshape(cls_score, shape=(-1, self.num_classes), name='cls_score_reshape')
        return cls_score, mx.sym.Reshape(bbox_pred, shape=(-1, 4 * self.num_reg_classes), name='bbox_pred_vote')

    def _vote(self, x, rois, maps_name, short, output_dim, offset_sets):
        maps = self._score_maps(x, maps_name, output_dim)
        name = 'psroipooled_%s_rois' % short
        if self.deformable:
            offset = self._offsets(x, rois, maps_name, offset_sets)
            pooled = self._deformable_pool(maps, rois, name, output_dim, trans=offset)
        else:
            pooled = mx.sym.contrib.PSROIPooling(maps, rois, name=name, group_size=self.bins, pooled_size=self.bins,
                                                 output_dim=output_dim,
                                                 spatial_scale=self.spatial_scale)  # [R, output_dim, k, k]
        return mx.sym.Pooling(pooled, name='ave_%s_rois' % ('cls_scores' if short == 'cls' else 'bbox_pred'),
                              pool_type='avg', global_pool=True, kernel=(self.bins, self.bins))

    def _score_maps(self, x, name, output_dim):
        return mx.sym.Convolution(x, kernel=(1, 1), num_filter=self.bins * self.bins * output_dim, name=name)

    def _offsets(self, x, rois, maps_name, sets):
        maps = self._score_maps(x, maps_name + '_offset_t', 2 * sets)
        return self._deformable_pool(maps, rois, maps_name + '_offset', 2 * sets)

    def _deformable_pool(self, maps, rois, name, output_dim, trans=None):
        inputs = (maps, rois) if trans is None else (maps, rois, trans)
        return mx.sym.contrib.DeformablePSROIPooling(
            *inputs, name=name, group_size=self.bins, pooled_size=self.bins, part_size=self.bins, output_dim=output_dim,
            sample_per_part=SAMPLES_PER_PART, spatial_scale=self.spatial_scale, no_trans=trans is None,
            trans_std=0.0 if trans is None else TRANS_STD)


def rcnn_losses(cls_score, bbox_pred, label, bbox_target, bbox_weight, batch_images, rois_per_image, ohem):
    """Softmax over the RoIs and smooth L1 over the foreground ones (R-FCN, equation 1).

    Args:
        label: (B*R,); class, 0 background, -1 does not count.
        rois_per_image: RoIs that back-propagate in an image; divides the box loss. -1 is all R.
        ohem: only the `rois_per_image` RoIs of each image with the largest loss count (R-FCN, section 2).
    Returns:
        cls_prob (B*R, C), bbox_loss (B*R, 4 * num_reg_classes), the labels that counted (B*R,).
    """
    if ohem:
        label, bbox_weight = box_annotator_ohem(cls_score, bbox_pred, label, bbox_target, bbox_weight, batch_images,
                                                rois_per_image)
    cls_prob = mx.sym.SoftmaxOutput(cls_score, label, name='cls_prob', normalization='valid', use_ignore=True,
                                    ignore_label=IGNORE_LABEL)
    loss = bbox_weight * mx.sym.smooth_l1(bbox_pred - bbox_target, name='bbox_loss_', scalar=1.0)
    if rois_per_image == -1:    # Departure: the release divides by this -1, and so increases the loss.
        scale = dict(normalization='batch')     # MXNet's name for the number of rows
    else:                       # Divided by the images too: see the departure in `rpn_losses`.
        scale = dict(grad_scale=1.0 / (rois_per_image * batch_images))
    return cls_prob, mx.sym.MakeLoss(loss, name='bbox_loss', **scale), label


def box_annotator_ohem(cls_score, bbox_pred, labels, bbox_targets, bbox_weights, batch_images, rois_per_image):
    """Online hard example mining, by MXNet's own operators; `lib/rcnn/sample_rois.py` has the same rule in NumPy.

    The `rois_per_image` RoIs of each image with the largest loss are kept; the others get label -1 and weight 0.
    Departure: the release keeps as many of all images of a device together. With one image the two are the same.
    The release calls back into Python here; ranking by two sorts gives the same RoIs and needs no callback, so a
    training graph with `CXX_PROPOSAL` leaves C++ once, for the RoIs' targets.

    Args:
        cls_score: (B*R, C) before the softmax. bbox_pred, bbox_targets, bbox_weights: (B*R, 4 * num_reg_classes).
        labels: (B*R,); RoIs of label -1 are never kept.
    Returns:
        labels (B*R,) and bbox_weights of the same shape as given; no gradient flows through them.
    Source: R-FCN section 2; the release's operator_py/box_annotator_ohem.py.
    """
    log_prob = mx.sym.log(mx.sym.softmax(cls_score) + LOG_FLOOR)
    cls_loss = 0 - mx.sym.pick(log_prob, mx.sym.maximum(labels, 0), axis=1)
    bbox_loss = mx.sym.sum(bbox_weights * mx.sym.smooth_l1(bbox_pred - bbox_targets, scalar=1.0), axis=1)
    counts = labels >= 0
    loss = mx.sym.where(counts, cls_loss + bbox_loss, mx.sym.ones_like(labels) * -1)  # real losses are never negative
    by_image = mx.sym.reshape(loss, shape=(batch_images, -1))
    rank = mx.sym.argsort(mx.sym.argsort(by_image, axis=1, is_ascend=False), axis=1)  # 0: the image's largest loss
    kept = mx.sym.reshape(rank < rois_per_image, shape=(-1,)) * counts
    labels = mx.sym.where(kept, labels, mx.sym.ones_like(labels) * IGNORE_LABEL)
    return mx.sym.BlockGrad(labels, name='labels_ohem'), mx.sym.BlockGrad(
        mx.sym.broadcast_mul(bbox_weights, mx.sym.expand_dims(kept, axis=1)), name='bbox_weights_ohem')


class RFCN:
    """Reads the configuration and assembles trunk, RPN and head. Shapes: see the glossary in `rfcn/__init__.py`.

    Args:
        cfg: a loaded configuration.
        trunk: an object with `conv4(data)` and `conv5(conv4)`.
        deformable: of the head.
    Raises:
        ConfigError: RPN_FEAT_STRIDE or RCNN_FEAT_STRIDE are not those of the trunk.
    """

    def __init__(self, cfg, trunk, deformable=False):
        check_strides(cfg, rpn=CONV4_STRIDE, rcnn=self.pooled_stride(cfg))
        self.cfg = cfg
        self.trunk = trunk
        self.num_anchors = cfg.network.NUM_ANCHORS
        self.num_classes = cfg.dataset.NUM_CLASSES
        self.num_reg_classes = 2 if cfg.CLASS_AGNOSTIC else self.num_classes
        self.deformable = deformable
        self.head = self.make_head(num_classes=self.num_classes, num_reg_classes=self.num_reg_classes,
                                   bins=cfg.network.POOLED_SIZE, channels=cfg.network.CONV_NEW_CHANNELS,
                                   spatial_scale=1.0 / cfg.network.RCNN_FEAT_STRIDE)

    def make_head(self, **settings):
        """The head that this network differs in from others; settings of `RFCNHead`."""
        return RFCNHead(deformable=self.deformable, **settings)

    @staticmethod
    def pooled_stride(cfg):
        """Pixels per cell of the map that RoIs are pooled from."""
        return conv5_stride(cfg)

    def get_symbol(self, is_train):
        """End to end. Inputs: data, im_info, and for training gt_boxes, label, bbox_target, bbox_weight (the RPN's)."""
        conv4 = self.trunk.conv4(mx.sym.Variable('data'))
        im_info = mx.sym.Variable('im_info')
        scores, bbox_pred = self._rpn_head(conv4)
        losses = self._rpn_losses(scores, bbox_pred) if is_train else ()
        rois = self._proposals(scores, bbox_pred, im_info, is_train)
        conv5 = self.trunk.conv5(conv4)
        if not is_train:
            return mx.sym.Group([rois] + self._rcnn_outputs(conv5, rois))
        targets = self._proposal_target(rois, mx.sym.Variable('gt_boxes'))
        prob, loss, label = self._rcnn_losses(conv5, *targets)
        label = mx.sym.Reshape(label, shape=(self.cfg.TRAIN.BATCH_IMAGES, -1), name='rcnn_label_reshape')
        return mx.sym.Group(list(losses) + [prob, loss, mx.sym.BlockGrad(label, name='rcnn_label')])

    def get_symbol_rpn(self, is_train):
        """RPN alone. Inputs: data, and for training label, bbox_target, bbox_weight, for testing im_info."""
        conv4 = self.trunk.conv4(mx.sym.Variable('data'))
        scores, bbox_pred = self._rpn_head(conv4)
        if is_train:
            return mx.sym.Group(list(self._rpn_losses(scores, bbox_pred)))
        return self._proposals(scores, bbox_pred, mx.sym.Variable('im_info'), is_train, output_score=True)

    def get_symbol_rfcn(self, is_train):
        """R-FCN on given RoIs.

        Inputs: data, rois (B, R, 5), and for training label, bbox_target, bbox_weight (B, R, ...).
        """
        conv5 = self.trunk.conv5(self.trunk.conv4(mx.sym.Variable('data')))
        rois = mx.sym.Reshape(mx.sym.Variable('rois'), shape=(-1, 5), name='rois_reshape')
        if not is_train:
            return mx.sym.Group(self._rcnn_outputs(conv5, rois))
        label = mx.sym.Reshape(mx.sym.Variable('label'), shape=(-1,), name='label_reshape')
        target, weight = (mx.sym.Reshape(mx.sym.Variable(name), shape=(-1, 4 * self.num_reg_classes),
                                         name=name + '_reshape')
                          for name in ('bbox_target', 'bbox_weight'))
        prob, loss, label = self._rcnn_losses(conv5, rois, label, target, weight)
        outputs = [prob, loss]
        if self.cfg.TRAIN.ENABLE_OHEM:
            outputs.append(mx.sym.BlockGrad(label, name='rcnn_label'))
        return mx.sym.Group(outputs)

    def _rpn_head(self, conv4):
        """Scores (B, 2, A*H, W) and boxes (B, 4A, H, W)."""
        cls_score, bbox_pred = rpn_head(conv4, self.num_anchors, self.cfg.network.RPN_CHANNELS)
        return two_class_view(cls_score), bbox_pred

    def _rpn_losses(self, scores, bbox_pred):
        train = self.cfg.TRAIN
        return rpn_losses(scores, bbox_pred, mx.sym.Variable('label'), mx.sym.Variable('bbox_target'),
                          mx.sym.Variable('bbox_weight'), train.RPN_BATCH_SIZE, train.BATCH_IMAGES)

    def _proposals(self, scores, bbox_pred, im_info, is_train, output_score=False):
        phase = self.cfg.TRAIN if is_train else self.cfg.TEST
        network = self.cfg.network
        return rpn_proposals(
            scores, bbox_pred, im_info, self.num_anchors, phase.CXX_PROPOSAL, output_score=output_score,
            feature_stride=network.RPN_FEAT_STRIDE, scales=tuple(network.ANCHOR_SCALES),
            ratios=tuple(network.ANCHOR_RATIOS), rpn_pre_nms_top_n=phase.RPN_PRE_NMS_TOP_N,
            rpn_post_nms_top_n=phase.RPN_POST_NMS_TOP_N, threshold=phase.RPN_NMS_THRESH,
            rpn_min_size=phase.RPN_MIN_SIZE, max_log_ratio=None if self.cfg.RELEASE_RULES else MAX_LOG_RATIO)

    def _proposal_target(self, rois, gt_boxes):
        train = self.cfg.TRAIN
        rois_per_image(self.cfg)    # the operator shares them out; raises where that cannot be
        normalised = train.BBOX_NORMALIZATION_PRECOMPUTED
        return proposal_target(
            rois, gt_boxes, num_reg_classes=self.num_reg_classes, batch_rois=train.BATCH_ROIS,
            fg_fraction=train.FG_FRACTION, fg_thresh=train.FG_THRESH, bg_thresh_hi=train.BG_THRESH_HI,
            bg_thresh_lo=train.BG_THRESH_LO, class_agnostic=self.cfg.CLASS_AGNOSTIC,
            bbox_weights=list(train.BBOX_WEIGHTS), bbox_means=list(train.BBOX_MEANS) if normalised else None,
            bbox_stds=list(train.BBOX_STDS) if normalised else None,
            pad_label=BACKGROUND if self.cfg.RELEASE_RULES else IGNORE_LABEL)

    def _rcnn_losses(self, conv5, rois, label, bbox_target, bbox_weight):
        train = self.cfg.TRAIN
        cls_score, bbox_pred = self.head.predict(conv5, rois)
        count = train.BATCH_ROIS_OHEM if train.ENABLE_OHEM else rois_per_image(self.cfg)
        prob, loss, label = rcnn_losses(cls_score, bbox_pred, label, bbox_target, bbox_weight, train.BATCH_IMAGES,
                                        count, train.ENABLE_OHEM)
        return (self._by_image(prob, 'cls_prob', train.BATCH_IMAGES),
                self._by_image(loss, 'bbox_loss', train.BATCH_IMAGES), label)

    def _rcnn_outputs(self, conv5, rois):
        cls_score, bbox_pred = self.head.predict(conv5, rois)
        prob = mx.sym.SoftmaxActivation(cls_score, name='cls_prob')
        images = self.cfg.TEST.BATCH_IMAGES
        return [self._by_image(prob, 'cls_prob', images), self._by_image(bbox_pred, 'bbox_pred', images)]

    def _by_image(self, x, name, images):
        width = self.num_classes if name == 'cls_prob' else 4 * self.num_reg_classes
        return mx.sym.Reshape(x, shape=(images, -1, width), name=name + '_reshape')  # [B, R, width]
