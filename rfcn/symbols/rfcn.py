"""The graphs of R-FCN from one set of parts: end to end, RPN alone, R-FCN on given RoIs; each to train and to test."""
import mxnet as mx

from lib.bbox.bbox_transform import IGNORE_LABEL, MAX_LOG_RATIO
from lib.errors import ConfigError
from lib.rcnn.sample_rois import BACKGROUND
from rfcn.operator_py.proposal_target import proposal_target
from rfcn.symbols.resnet_v1 import CONV4_STRIDE, check_strides, conv5_stride
from rfcn.symbols.rfcn_head import RFCNHead, rcnn_losses
from rfcn.symbols.rpn import rpn_head, rpn_losses, rpn_proposals, two_class_view


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
        self.head = RFCNHead(self.num_classes, self.num_reg_classes, bins=cfg.network.POOLED_SIZE,
                             deformable=deformable, spatial_scale=1.0 / cfg.network.RCNN_FEAT_STRIDE,
                             channels=cfg.network.CONV_NEW_CHANNELS)

    @staticmethod
    def pooled_stride(cfg):
        """Pixels a cell of the map that RoIs are pooled from."""
        return conv5_stride(cfg)

    def get_symbol(self, is_train):
        """End to end. Inputs: data, im_info, and for training gt_boxes, label, bbox_target, bbox_weight (the RPN's)."""
        conv4 = self.trunk.conv4(mx.sym.Variable('data'))
        im_info = mx.sym.Variable('im_info')
        cls_score, bbox_pred = self._rpn_head(conv4)
        scores = two_class_view(cls_score)
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
        cls_score, bbox_pred = self._rpn_head(conv4)
        scores = two_class_view(cls_score)
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
        return rpn_head(conv4, self.num_anchors, self.cfg.network.RPN_CHANNELS)

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
        if train.BATCH_ROIS > 0 and train.BATCH_ROIS % train.BATCH_IMAGES:
            raise ConfigError('TRAIN.BATCH_ROIS is %d, which cannot be shared out equally to TRAIN.BATCH_IMAGES, %d'
                              % (train.BATCH_ROIS, train.BATCH_IMAGES))
        normalised = train.BBOX_NORMALIZATION_PRECOMPUTED
        return proposal_target(
            rois, gt_boxes, num_reg_classes=self.num_reg_classes, batch_images=train.BATCH_IMAGES,
            batch_rois=train.BATCH_ROIS, fg_fraction=train.FG_FRACTION, fg_thresh=train.FG_THRESH,
            bg_thresh_hi=train.BG_THRESH_HI, bg_thresh_lo=train.BG_THRESH_LO, class_agnostic=self.cfg.CLASS_AGNOSTIC,
            bbox_weights=list(train.BBOX_WEIGHTS), bbox_means=list(train.BBOX_MEANS) if normalised else None,
            bbox_stds=list(train.BBOX_STDS) if normalised else None,
            pad_label=BACKGROUND if self.cfg.RELEASE_RULES else IGNORE_LABEL)

    def _rcnn_losses(self, conv5, rois, label, bbox_target, bbox_weight):
        train = self.cfg.TRAIN
        cls_score, bbox_pred = self.head.predict(conv5, rois)
        prob, loss, label = rcnn_losses(cls_score, bbox_pred, label, bbox_target, bbox_weight, train.BATCH_IMAGES,
                                        self._rois_per_image(), train.ENABLE_OHEM)
        prob, loss = (self._by_image(prob, 'cls_prob', train.BATCH_IMAGES),
                      self._by_image(loss, 'bbox_loss', train.BATCH_IMAGES))
        return prob, loss, label

    def _rois_per_image(self):
        train = self.cfg.TRAIN
        if train.ENABLE_OHEM:
            return train.BATCH_ROIS_OHEM
        # Departure: the release divides the box loss by BATCH_ROIS even where that is -1 (all RoIs) and so climbs it.
        return train.BATCH_ROIS // train.BATCH_IMAGES if train.BATCH_ROIS > 0 else train.RPN_POST_NMS_TOP_N

    def _rcnn_outputs(self, conv5, rois):
        cls_score, bbox_pred = self.head.predict(conv5, rois)
        prob = mx.sym.SoftmaxActivation(cls_score, name='cls_prob')
        images = self.cfg.TEST.BATCH_IMAGES
        return [self._by_image(prob, 'cls_prob', images), self._by_image(bbox_pred, 'bbox_pred', images)]

    def _by_image(self, x, name, images):
        width = self.num_classes if name == 'cls_prob' else 4 * self.num_reg_classes
        return mx.sym.Reshape(x, shape=(images, -1, width), name=name + '_reshape')  # [B, R, width]
