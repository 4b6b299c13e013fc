"""From RoIs, probabilities and deltas to the detections of an image, by ONNX operators."""
import numpy as np

from lib.bbox.bbox_transform import MAX_LOG_RATIO
from rfcn.exporters.onnx_graph import FLOAT, Graph, columns, ints, size_of
from rfcn.exporters.onnx_rpn import decode, im_info_at, nms_corners

INT64 = 7   # TensorProto.INT64


def detections(graph: Graph, rois: str, cls_prob: str, bbox_pred: str, im_info: str, *, num_classes: int,
               class_agnostic: bool, thresh: float, nms_thresh: float, max_per_image: int):
    """Add the nodes of `lib.rcnn.detection`: decoding, suppression class by class, the best of all classes.

    Args:
        rois: (R, 5). cls_prob: (1, R, C). bbox_pred: (1, R, 4 * M). im_info: (1, 3).
        num_classes, class_agnostic, thresh, nms_thresh, max_per_image: see `per_class_nms`.
    Returns:
        boxes (n, 4) in pixels of the image before scaling, scores (n,), classes (n,) int64 from 1 on; the best first.
    """
    scores = graph('Transpose', graph('Squeeze', cls_prob, ints(0)), perm=[1, 0])           # (C, R)
    scores = graph('Slice', scores, ints(1), ints(num_classes), ints(0))                    # (C-1, R)
    sets = 2 if class_agnostic else num_classes
    deltas = graph('Reshape', bbox_pred, ints(-1, sets, 4))                                 # (R, M, 4)
    deltas = graph('Transpose', graph('Slice', deltas, ints(1), ints(sets), ints(1)), perm=[1, 0, 2])   # (M-1, R, 4)
    boxes = decode(graph, columns(graph, rois, 1, 5), deltas, im_info, MAX_LOG_RATIO)
    boxes = graph('Div', boxes, im_info_at(graph, im_info, 2))
    # NonMaxSuppression knows images, each with boxes that its classes share. Boxes of one class alone are an image.
    by_image = graph('Unsqueeze', scores, ints(0 if class_agnostic else 1))
    selected = graph('NonMaxSuppression', nms_corners(graph, boxes), by_image, size_of(graph, rois, 0),
                     np.array([nms_thresh], dtype=np.float32), np.array([thresh], dtype=np.float32))    # (n, 3)
    classes = columns(graph, selected, 1, 2) if class_agnostic else columns(graph, selected, 0, 1)      # (n, 1)
    row = columns(graph, selected, 2, 3)
    chosen = graph('GatherND', scores, graph('Concat', classes, row, axis=1))               # (n,)
    order, chosen = _best(graph, chosen, max_per_image)
    sources = graph('Concat', columns(graph, selected, 0, 1), row, axis=1)
    boxes = graph('GatherND', boxes, graph('Gather', sources, order, axis=0))               # (n, 4)
    classes = graph('Add', graph('Squeeze', graph('Gather', classes, order, axis=0), ints(1)), np.int64(1))
    return boxes, chosen, classes


def _best(graph, scores, most):
    """Indices and values of the `most` highest scores (n,), highest first, and of those that tie with the last one."""
    count = size_of(graph, scores, 0)
    ordered, order = graph('TopK', scores, count, outputs=2, axis=0, largest=1, sorted=1)
    if most <= 0:
        return order, ordered
    last = graph('Max', graph('Sub', graph('Min', count, ints(most)), ints(1)), ints(0))
    least = graph('Gather', graph('Concat', ordered, np.zeros(1, dtype=np.float32), axis=0), last, axis=0)
    staying = graph('Cast', graph('GreaterOrEqual', ordered, least), to=FLOAT)
    staying = graph('Cast', graph('ReduceSum', staying, ints(0), keepdims=1), to=INT64)
    return (graph('Slice', order, ints(0), staying, ints(0)), graph('Slice', ordered, ints(0), staying, ints(0)))
