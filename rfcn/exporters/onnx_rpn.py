"""From the RPN's output to RoIs by ONNX operators: anchors, decoding, TopK, NonMaxSuppression. For one image.

Boxes hold both corners; ONNX's NonMaxSuppression takes x2 - x1 as the width. So it gets `nms_corners`, which have the
same overlaps.
"""
import numpy as np

from lib.bbox.bbox_transform import MAX_LOG_RATIO
from lib.rpn.anchors import generate_anchors
from rfcn.exporters.onnx_graph import FLOAT, Graph, columns, ints, numbers_to, size_of

NOT_CHOSEN = np.float32(-1)         # score of an anchor that must not win
LEAST_CHOSEN = np.float32(-0.5)     # scores of those that may are from 0 to 1


def proposals(graph: Graph, cls_prob: str, bbox_pred: str, im_info: str, *, native: bool, stride: int, scales, ratios,
              pre_nms_top_n: int, post_nms_top_n: int, nms_thresh: float, min_size: float,
              max_log_ratio=MAX_LOG_RATIO) -> str:
    """Add the nodes of `contrib.MultiProposal`, or of `lib.rpn.proposal.propose`.

    Where suppression leaves fewer than `post_nms_top_n`, those that are left are repeated in turn, as the former does;
    the latter draws them at random.

    Args:
        cls_prob: (1, 2A, H, W). bbox_pred: (1, 4A, H, W). im_info: (1, 3).
        native: the rules of MultiProposal (boxes outside the image's whole cells and too small ones, enlarged, follow
            last) or of `propose` (they are left out).
        max_log_ratio: see `decode`; MultiProposal has no limit, whatever this says.
    Returns:
        (post_nms_top_n, 5).
    """
    base = generate_anchors(stride, ratios, scales)
    scores = graph('Slice', cls_prob, ints(len(base)), ints(2 * len(base)), ints(1))        # (1, A, H, W)
    inside = inside_image(graph, size_of(graph, scores, 2), size_of(graph, scores, 3), im_info, stride,
                          at_least_one=not native)                                          # (H, W, 1)
    scores = graph('Transpose', scores, perm=[0, 2, 3, 1])                                  # (1, H, W, A)
    anchors = anchor_grid(graph, bbox_pred, base, stride)
    boxes = decode(graph, anchors, deltas_of_anchors(graph, bbox_pred), im_info, None if native else max_log_ratio)
    ranked = flat(graph, graph('Where', inside, scores, NOT_CHOSEN))                        # (N,)
    limit = None
    if min_size > 0:
        least = graph('Mul', im_info_at(graph, im_info, 2), np.float32(min_size))           # (1,)
        small = too_small(graph, boxes, least)                                              # (N,)
        large_only = graph('Where', small, NOT_CHOSEN, ranked)
        if native:
            boxes = enlarge(graph, boxes, small, least)
            ranked = large_only
        else:       # if no box is large enough, the best one stays
            some = graph('Greater', graph('ReduceMax', large_only, keepdims=1), LEAST_CHOSEN)
            ranked = graph('Where', some, large_only, ranked)
            limit = graph('Where', some, ints(post_nms_top_n), ints(1))                     # (1,)
    scores, order = top(graph, ranked, pre_nms_top_n)
    boxes = graph('Gather', boxes, order, axis=0)
    allowed = None if native else graph('Greater', scores, LEAST_CHOSEN)
    kept = suppress(graph, boxes, allowed, nms_thresh, post_nms_top_n)
    count = size_of(graph, kept, 0)
    count = count if limit is None else graph('Min', count, limit)
    kept = graph('Gather', kept, graph('Mod', np.arange(post_nms_top_n, dtype=np.int64), count), axis=0)
    return with_image_index(graph, graph('Gather', boxes, kept, axis=0), post_nms_top_n)


def best_anchors(graph: Graph, cls_prob: str, bbox_pred: str, im_info: str, *, count: int, stride: int, scales, ratios):
    """Add the nodes of `lib.rpn.proposal.best_anchors`.

    Args:
        cls_prob: (1, C, A*H, W). bbox_pred: (1, 4A, H, W).
    Returns:
        rois (count, 5), cls_prob (1, count, C), bbox_pred (1, count, 8).
    """
    base = generate_anchors(stride, ratios, scales)
    classes, height, width = size_of(graph, cls_prob, 1), size_of(graph, bbox_pred, 2), size_of(graph, bbox_pred, 3)
    prob = graph('Reshape', cls_prob, graph('Concat', classes, ints(len(base)), height, width, axis=0))
    prob = graph('Transpose', prob, perm=[2, 3, 1, 0])                                      # (H, W, A, C)
    background = graph('Squeeze', columns(graph, prob, 0, 1), ints(3))                      # (H, W, A)
    inside = inside_image(graph, height, width, im_info, stride, at_least_one=True)
    background = graph('Where', inside, background, np.float32(2))     # more than any probability: comes last
    scores, order = top(graph, graph('Neg', flat(graph, background)), count)
    chosen = graph('Unsqueeze', graph('GreaterOrEqual', scores, np.float32(-1)), ints(1))
    missing = graph('Concat', ints(0, 0), graph('Sub', ints(count), size_of(graph, order, 0)), ints(0), axis=0)

    def rows(values):
        taken = graph('Gather', values, order, axis=0)
        return graph('Pad', graph('Where', chosen, taken, np.float32(0)), missing)
    anchors = rows(anchor_grid(graph, bbox_pred, base, stride))
    deltas = rows(deltas_of_anchors(graph, bbox_pred))
    deltas = graph('Concat', graph('Mul', deltas, np.float32(0)), deltas, axis=1)
    prob = rows(graph('Reshape', prob, graph('Concat', ints(-1), classes, axis=0)))
    return (with_image_index(graph, anchors, count), graph('Unsqueeze', prob, ints(0)),
            graph('Unsqueeze', deltas, ints(0)))


def anchor_grid(graph: Graph, like: str, base, stride: int) -> str:
    """The anchors of a map of the size of `like` (1, ?, H, W), in THE anchor order: (N, 4)."""
    def shifts(axis, corners, shape):
        cells = graph('Reshape', numbers_to(graph, size_of(graph, like, axis)), ints(*shape))
        return graph('Mul', cells, np.array(corners, dtype=np.float32) * np.float32(stride))
    down = shifts(2, [0, 1, 0, 1], (-1, 1, 1, 1))                                           # (H, 1, 1, 4)
    right = shifts(3, [1, 0, 1, 0], (1, -1, 1, 1))                                          # (1, W, 1, 4)
    return graph('Reshape', graph('Add', graph('Add', down, right), base), ints(-1, 4))


def inside_image(graph: Graph, height: str, width: str, im_info: str, stride: int, at_least_one: bool) -> str:
    """Which cells of a map are whole cells of the image, (H, W, 1); its first one if `at_least_one`."""
    def inside(length, index, shape):
        whole = graph('Floor', graph('Div', im_info_at(graph, im_info, index), np.float32(stride)))
        if at_least_one:
            whole = graph('Max', whole, np.float32(1))
        return graph('Reshape', graph('Less', numbers_to(graph, length), whole), ints(*shape))
    return graph('And', inside(height, 0, (-1, 1, 1)), inside(width, 1, (1, -1, 1)))


def decode(graph: Graph, boxes: str, deltas: str, im_info: str, max_log_ratio) -> str:
    """`lib.bbox.bbox_transform.nonlinear_pred`, clipped to the image.

    Args:
        boxes, deltas: (..., 4). max_log_ratio: None for no limit.
    Returns:
        (..., 4).
    """
    low, high = columns(graph, boxes, 0, 2), columns(graph, boxes, 2, 4)
    sides = graph('Add', graph('Sub', high, low), np.float32(1))
    centres = graph('Add', low, graph('Mul', np.float32(0.5), graph('Sub', sides, np.float32(1))))
    growth = columns(graph, deltas, 2, 4)
    if max_log_ratio is not None:
        growth = graph('Min', growth, np.float32(max_log_ratio))
    centres = graph('Add', graph('Mul', columns(graph, deltas, 0, 2), sides), centres)
    half = graph('Mul', np.float32(0.5), graph('Sub', graph('Mul', graph('Exp', growth), sides), np.float32(1)))
    last = graph('Sub', graph('Gather', graph('Squeeze', im_info, ints(0)), ints(1, 0), axis=0), np.float32(1))
    corners = [graph('Max', graph('Min', graph(op, centres, half), last), np.float32(0)) for op in ('Sub', 'Add')]
    return graph('Concat', *corners, axis=-1)


def too_small(graph: Graph, boxes: str, least: str) -> str:
    """Whether a box (N, 4) has a side below `least` (1,) pixels: (N,) bool."""
    sides = graph('Add', graph('Sub', columns(graph, boxes, 2, 4), columns(graph, boxes, 0, 2)), np.float32(1))
    return graph('Less', graph('ReduceMin', sides, axes=[1], keepdims=0), least)


def enlarge(graph: Graph, boxes: str, which: str, by: str) -> str:
    """The boxes, those of `which` (N,) with `by` (1,) more pixels in width and height."""
    larger = graph('Mul', graph('Mul', by, np.float32(0.5)), np.array([-1, -1, 1, 1], dtype=np.float32))
    return graph('Where', graph('Unsqueeze', which, ints(1)), graph('Add', boxes, larger), boxes)


def top(graph: Graph, scores: str, count: int):
    """The highest scores (n,) and their indices; n is `count` or less, all if `count` is 0 or less."""
    number = size_of(graph, scores, 0)
    number = graph('Min', number, ints(count)) if count > 0 else number
    return graph('TopK', scores, number, outputs=2, axis=0, largest=1, sorted=1)


def suppress(graph: Graph, boxes: str, allowed, thresh: float, most: int) -> str:
    """Non-maximum suppression of boxes that are sorted, the best first.

    Runtimes treat equal scores, negative scores and the order of the result each in their own way. So they get ranks
    for scores, and the result is sorted.

    Args:
        boxes: (N, 4). allowed: (N,) bool, False for boxes that must not be chosen; None allows all.
        thresh: largest overlap. most: number of boxes to keep.
    Returns:
        (n,) int64 indices, increasing.
    """
    ranks = graph('Sub', graph('Cast', size_of(graph, boxes, 0), to=FLOAT), numbers_to(graph, size_of(graph, boxes, 0)))
    if allowed is not None:
        ranks = graph('Where', allowed, ranks, np.float32(0))
    selected = graph('NonMaxSuppression', graph('Unsqueeze', nms_corners(graph, boxes), ints(0)),
                     graph('Unsqueeze', ranks, ints(0, 1)), ints(most), np.array([thresh], dtype=np.float32),
                     np.array([0.5], dtype=np.float32))
    selected = graph('Squeeze', columns(graph, selected, 2, 3), ints(1))
    return graph('TopK', selected, size_of(graph, selected, 0), outputs=2, axis=0, largest=0, sorted=1)[0]


def nms_corners(graph: Graph, boxes: str) -> str:
    """Boxes (..., 4) with x2 + 1 and y2 + 1 for NonMaxSuppression.

    A side of less than nothing, which a narrow box has once it is scaled to the image, becomes 0: such a box overlaps
    none. Runtimes would exchange its corners.
    """
    low = columns(graph, boxes, 0, 2)
    high = graph('Max', graph('Add', columns(graph, boxes, 2, 4), np.float32(1)), low)
    return graph('Concat', low, high, axis=-1)


def with_image_index(graph: Graph, boxes: str, count: int) -> str:
    """(count, 4) -> (count, 5): 0, the number of the only image, before each box."""
    return graph('Concat', np.zeros((count, 1), dtype=np.float32), boxes, axis=1)


def deltas_of_anchors(graph: Graph, bbox_pred: str) -> str:
    """(1, 4A, H, W) -> (N, 4) in THE anchor order."""
    return graph('Reshape', graph('Transpose', bbox_pred, perm=[0, 2, 3, 1]), ints(-1, 4))


def flat(graph: Graph, x: str) -> str:
    """(...) -> (N,)"""
    return graph('Reshape', x, ints(-1))


def im_info_at(graph: Graph, im_info: str, index: int) -> str:
    """(1,): height, width or scale."""
    return graph('Gather', graph('Squeeze', im_info, ints(0)), ints(index), axis=0)
