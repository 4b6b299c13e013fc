"""Online hard example mining in the graph, by MXNet's own operators. `lib/rcnn/ohem.py` is the same rule in NumPy."""
import mxnet as mx

LOG_FLOOR = 1e-14  # keeps the logarithm of a probability that underflowed finite, as in the release


def box_annotator_ohem(cls_score, bbox_pred, labels, bbox_targets, bbox_weights, batch_images, rois_per_image):
    """Keep the `rois_per_image` RoIs of each image with the largest loss; the others get label -1 and weight 0.

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
    labels = mx.sym.where(kept, labels, mx.sym.ones_like(labels) * -1)
    return mx.sym.BlockGrad(labels, name='labels_ohem'), mx.sym.BlockGrad(
        mx.sym.broadcast_mul(bbox_weights, mx.sym.expand_dims(kept, axis=1)), name='bbox_weights_ohem')
