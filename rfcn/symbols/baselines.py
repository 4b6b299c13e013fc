"""The detectors that the paper compares R-FCN with (section 4.1), of the same trunk, RPN, losses and names.

    NaiveRCNN    RoI pooling after conv5, then one fully connected layer: POOLED_SIZE 7 or 1 in the paper's table
    FasterRCNN   RoI pooling after conv4, conv5 for every RoI, then one fully connected layer (He et al. 2016)
    ClassRPN     the RPN, on conv5, tells the classes itself: one stage, no RoIs

R-FCN without position sensitivity needs no network of its own: it is R-FCN with network.POOLED_SIZE 1.
"""
import mxnet as mx

from lib.errors import ConfigError
from rfcn.operator_py.proposal import best_anchors
from rfcn.symbols.resnet_v1 import CONV4_STRIDE, check_strides, conv5_stride
from rfcn.symbols.rfcn import RFCN, RFCNHead, rpn_head, rpn_losses


class NaiveHead(RFCNHead):
    """RoI max pooling of the features that R-FCN makes its score maps of, and a fully connected layer per answer."""

    def predict(self, conv5, rois):
        """(B, F, H, W) and (R, 5) -> cls_score (R, C) and bbox_pred (R, 4 * num_reg_classes)."""
        return self.answers(self.pool(self.reduce(conv5), rois))

    def pool(self, features, rois):
        """-> (R, F, k, k)."""
        return mx.sym.ROIPooling(features, rois, name='roi_pool', pooled_size=(self.bins, self.bins),
                                 spatial_scale=self.spatial_scale)

    def answers(self, pooled):
        """(R, F, k, k) -> cls_score and bbox_pred."""
        return (mx.sym.FullyConnected(pooled, num_hidden=self.num_classes, name='rcnn_cls'),
                mx.sym.FullyConnected(pooled, num_hidden=4 * self.num_reg_classes, name='rcnn_bbox'))


class ConvRoIHead(NaiveHead):
    """RoI pooling of conv4; each RoI goes through conv5 by itself.

    Args:
        conv5: a function (R, F, k, k) -> features of the RoIs.
        settings: of `RFCNHead`.
    """

    def __init__(self, conv5, **settings):
        super().__init__(**settings)
        self.conv5 = conv5

    def predict(self, conv4, rois):
        """(B, F, H, W) and (R, 5) -> cls_score (R, C) and bbox_pred (R, 4 * num_reg_classes)."""
        x = self.conv5(self.pool(conv4, rois))
        return self.answers(mx.sym.Pooling(x, name='pool5', pool_type='avg', global_pool=True, kernel=(1, 1)))


class NaiveRCNN(RFCN):
    """All convolutions are shared; see `RFCN` for the graphs.

    The paper does not say whether its baseline has the 1x1 convolution to 1024 channels too; this one does, so that the
    networks differ in nothing but the head.
    """

    def make_head(self, **settings):
        return NaiveHead(**settings)


class FasterRCNN(RFCN):
    """Convolutions up to conv4 are shared; see `RFCN` for the graphs. conv5's stride is inside of a RoI: 14 bins."""

    def __init__(self, cfg, trunk):
        super().__init__(cfg, _UpToConv4(trunk))

    def make_head(self, **settings):
        return ConvRoIHead(self.trunk.conv5_of_rois, **settings)

    @staticmethod
    def pooled_stride(cfg):
        return CONV4_STRIDE


class _UpToConv4:
    """A trunk whose shared part ends with conv4."""

    def __init__(self, trunk):
        self.conv4, self.conv5_of_rois = trunk.conv4, trunk.conv5

    @staticmethod
    def conv5(conv4):
        return conv4


class ClassRPN:
    """Anchors on conv5, each with a score for every class and one box.

    Args, errors: see `RFCN`.
    """

    def __init__(self, cfg, trunk):
        check_strides(cfg, rpn=conv5_stride(cfg))
        if not cfg.CLASS_AGNOSTIC:
            raise ConfigError('CLASS_AGNOSTIC must be true: %s predicts one box per anchor for all classes'
                              % cfg.symbol)
        if cfg.TEST.RPN_PRE_NMS_TOP_N < 1:      # also where it trains: a validation would find out after an epoch
            raise ConfigError('TEST.RPN_PRE_NMS_TOP_N is %d: %s needs 1 or more anchors, and cannot take all'
                              % (cfg.TEST.RPN_PRE_NMS_TOP_N, cfg.symbol))
        self.cfg = cfg
        self.trunk = trunk

    def get_symbol(self, is_train):
        """Inputs: data; for training label (class, 0, -1), bbox_target, bbox_weight; for testing im_info."""
        network, num_classes = self.cfg.network, self.cfg.dataset.NUM_CLASSES
        conv5 = self.trunk.conv5(self.trunk.conv4(mx.sym.Variable('data')))
        cls_score, bbox_pred = rpn_head(conv5, network.NUM_ANCHORS, network.RPN_CHANNELS, num_classes)
        # [B, C, A*H, W]
        scores = mx.sym.Reshape(cls_score, shape=(0, num_classes, -1, 0), name='rpn_cls_score_reshape')
        if is_train:
            labels = [mx.sym.Variable(name) for name in ('label', 'bbox_target', 'bbox_weight')]
            return mx.sym.Group(list(rpn_losses(scores, bbox_pred, *labels, batch_size=self.cfg.TRAIN.RPN_BATCH_SIZE,
                                                batch_images=self.cfg.TRAIN.BATCH_IMAGES)))
        return self._best_anchors(mx.sym.SoftmaxActivation(scores, mode='channel', name='rpn_cls_act'), bbox_pred)

    def _best_anchors(self, prob, bbox_pred):
        """rois, cls_prob, bbox_pred as of `RFCN`, for the same code to make detections of; the anchors are the RoIs."""
        network = self.cfg.network
        outputs = best_anchors(prob, bbox_pred, mx.sym.Variable('im_info'), name='best_anchors',
                               count=self.cfg.TEST.RPN_PRE_NMS_TOP_N, stride=network.RPN_FEAT_STRIDE,
                               scales=network.ANCHOR_SCALES, ratios=network.ANCHOR_RATIOS)
        names = ('rois', 'cls_prob', 'bbox_pred')
        return mx.sym.Group([mx.sym.identity(output, name=name) for output, name in zip(outputs, names)])

    def get_symbol_rpn(self, is_train):
        """The same for training; there are no proposals."""
        if not is_train:
            raise ConfigError('symbol: %s has one stage and makes no proposals' % self.cfg.symbol)
        return self.get_symbol(is_train)

    def get_symbol_rfcn(self, is_train):
        """There is no such graph."""
        raise ConfigError('symbol: %s has one stage and takes no proposals; train it with rfcn train'
                          % self.cfg.symbol)
