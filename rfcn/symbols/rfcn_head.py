"""The R-FCN head: position-sensitive score maps and RoI pooling, vote, OHEM, losses (R-FCN, section 2)."""
import mxnet as mx

from lib.bbox.bbox_transform import IGNORE_LABEL
from lib.rcnn.ohem import LOG_FLOOR

SAMPLES_PER_PART = 4   # deformable pooling: samples a bin and side
TRANS_STD = 0.1        # deformable pooling: offsets are in tenths of the RoI's size


class RFCNHead:
    """k*k*C class maps and k*k*4 box maps a class; the vote is the mean of a RoI's bins.

    Bin (i, j) of a RoI is the mean of map (i, j) alone.

    Args:
        num_classes: C, background included.
        num_reg_classes: sets of box maps: 2 (background, object: class-agnostic) or C.
        bins: k.
        spatial_scale: cells of the feature map a pixel of the image.
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
        rois_per_image: RoIs that back-propagate in an image; divides the box loss.
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
    # Divided by the images too: see the departure in rpn.rpn_losses.
    bbox_loss = mx.sym.MakeLoss(loss, name='bbox_loss', grad_scale=1.0 / (rois_per_image * batch_images))
    return cls_prob, bbox_loss, label


def box_annotator_ohem(cls_score, bbox_pred, labels, bbox_targets, bbox_weights, batch_images, rois_per_image):
    """Online hard example mining, by MXNet's own operators; `lib/rcnn/ohem.py` is the same rule in NumPy.

    The `rois_per_image` RoIs of each image with the largest loss are kept; the others get label -1 and weight 0.
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
