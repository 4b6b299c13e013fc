"""The exporter's nodes compute what lib and MXNet compute. They run in NumPy here; no package of ONNX is needed."""
import mxnet as mx
import numpy as np
import pytest

from lib.bbox.bbox_transform import MAX_LOG_RATIO
from lib.psroi.psroi_pooling import bins, psroi_pool
from lib.rcnn.detection import detect, per_class_nms
from lib.rpn.anchors import generate_anchors
from lib.rpn.proposal import best_anchors, propose
from rfcn.exporters import onnx_layers, onnx_rpn
from rfcn.exporters.onnx_file import detections
from rfcn.exporters.onnx_graph import Graph, size_of
from tests.rfcn.exporters import numpy_runtime

ANCHORS = dict(stride=16, scales=(1, 2), ratios=(0.5, 1, 2))
BASE = generate_anchors(16, ANCHORS['ratios'], ANCHORS['scales'])
A = len(BASE)


def evaluate(add, **inputs):
    """What `add(graph)` computes of the inputs: an array, or a list of them."""
    graph = Graph()
    found = add(graph)
    values = numpy_runtime.run(graph, {name: np.asarray(value, dtype=np.float32) for name, value in inputs.items()})
    return values[found] if isinstance(found, str) else [values[name] for name in found]


@pytest.mark.parametrize('k', [1, 3, 7])
def test_pooling_equals_that_of_lib_also_beyond_the_map_and_for_boxes_inside_out(k):
    draws = np.random.RandomState(k)
    data = draws.normal(100, 30, (1, 2 * k * k, 9, 13)).astype(np.float32)
    corners = draws.uniform(-40, 240, (40, 4))
    rois = np.hstack((np.zeros((40, 1)), corners)).astype(np.float32)   # of these some are inside out
    rois = np.vstack((rois, [[0, 0, 0, 207, 143], [0, 15.5, 16.5, 15.5, 16.5], [0, 500, 500, 600, 600]]))
    found = evaluate(lambda graph: onnx_layers.psroi_pool(graph, 'data', 'rois', spatial_scale=1 / 16, output_dim=2,
                                                          bins=k), data=data, rois=rois)
    expected = psroi_pool(data, rois, 1 / 16, 2, k)
    np.testing.assert_allclose(found, expected, rtol=2e-6)
    assert (expected[-1] == 0).all() and expected[-3].all()


def by_reciprocal(x, divisor):
    """What some runtimes, OpenVINO among them, compute for Div."""
    return x * (np.float32(1) / divisor)


@pytest.mark.parametrize('divisor', [1, 3, 7, 14])
def test_a_quotient_is_rounded_rightly_where_a_runtime_multiplies_by_the_reciprocal(divisor, monkeypatch):
    lengths = np.append(np.arange(1, 20000) / 16, 0.1).astype(np.float32)      # sides of RoIs, in cells of 16 pixels
    wrong = by_reciprocal(lengths, np.float32(divisor)) != lengths / np.float32(divisor)
    assert wrong.any() == (divisor > 1)
    for division in (np.divide, by_reciprocal):
        monkeypatch.setitem(numpy_runtime.OPERATORS, 'Div', division)
        found = evaluate(lambda graph: onnx_layers.quotient(graph, 'lengths', divisor), lengths=lengths)
        np.testing.assert_array_equal(found, lengths / np.float32(divisor))


def mask_graph(count):
    """A graph with inputs starts (R, 1), lengths (R, 1), map (1, 1, H, W); and its output, the bins over H."""
    graph = Graph()
    for name in ('starts', 'lengths'):
        graph.input(name, ('R', 1))
    graph.input('map', (1, 1, 'H', 'W'))
    graph.output('masks', onnx_layers.bin_masks(graph, 'starts', 'lengths', count, size_of(graph, 'map', 2))[0],
                 ('R', count, 'H'))
    return graph


@pytest.mark.parametrize('runtime', ['onnxruntime', 'openvino'])
def test_runtimes_give_a_bin_the_cells_that_lib_gives_it(runtime, tmp_path):
    for package in ('onnx', runtime):
        pytest.importorskip(package, reason='%s is not installed: pip install %s' % (package, package))
    draws = np.random.RandomState(0)
    starts, lengths = ((draws.randint(1, limit, 2000) / 16).astype(np.float32) for limit in (300, 600))
    path = str(tmp_path / 'masks.onnx')
    mask_graph(7).save(path, {})
    found = run_file(path, runtime, dict(starts=starts[:, None], lengths=lengths[:, None],
                                         map=np.zeros((1, 1, 38, 1), dtype=np.float32)))
    expected = np.zeros((2000, 7, 38), dtype=np.float32)
    for start, length, of_roi in zip(starts, lengths, expected):
        for mask, (first, end) in zip(of_roi, bins(start, length, 7, 38)):
            mask[first:end] = 1
    np.testing.assert_array_equal(found, expected)


def run_file(path, runtime, feed):
    """The only output of a file."""
    if runtime == 'openvino':
        import openvino
        return openvino.Core().compile_model(path, 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})(feed)[0]
    import onnxruntime
    return onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider']).run(None, feed)[0]


def rpn_output(height, width, seed=0, spread=0.3):
    """Distinct scores (1, 2A, H, W), deltas (1, 4A, H, W)."""
    draws = np.random.RandomState(seed)
    scores = draws.permutation(A * height * width).reshape(1, A, height, width) / (A * height * width)
    return (np.concatenate((1 - scores, scores), axis=1).astype(np.float32),
            draws.normal(0, spread, (1, 4 * A, height, width)).astype(np.float32))


def exported_proposals(prob, deltas, im_info, native, **settings):
    return evaluate(lambda graph: onnx_rpn.proposals(graph, 'prob', 'deltas', 'im_info', native=native, **ANCHORS,
                                                     **settings), prob=prob, deltas=deltas, im_info=[im_info])


# name -> im_info, settings; the map has 5 x 7 cells
CASES = {
    'all_cells': ((80, 112, 1), {}),
    'parts_of_cells': ((70, 100, 1), {}),
    'few_before_suppression': ((80, 112, 1), dict(pre_nms_top_n=40)),
    'all_before_suppression': ((80, 112, 1), dict(pre_nms_top_n=-1)),
    'small_boxes': ((80, 112, 2), dict(min_size=12)),
    'fewer_than_wanted': ((80, 112, 1), dict(post_nms_top_n=200, nms_thresh=0.1)),
}
SETTINGS = dict(pre_nms_top_n=100, post_nms_top_n=20, nms_thresh=0.5, min_size=0)


@pytest.mark.parametrize('case', sorted(CASES))
def test_proposals_equal_those_of_lib(case):
    im_info, changes = CASES[case]
    settings = dict(SETTINGS, **changes)
    prob, deltas = rpn_output(5, 7)
    found = exported_proposals(prob, deltas, im_info, native=False, **settings)
    expected, _ = propose(prob[0, A:], deltas[0], im_info, base_anchors=BASE, stride=16, **settings)
    distinct = len(np.unique(expected, axis=0))
    assert found.shape == (settings['post_nms_top_n'], 5) and not found[:, 0].any()
    np.testing.assert_allclose(found[:distinct, 1:], expected[:distinct], atol=1e-4)
    np.testing.assert_array_equal(found[distinct:], np.resize(found[:distinct], found.shape)[distinct:])  # in turn
    if case == 'fewer_than_wanted':
        assert distinct < settings['post_nms_top_n']


@pytest.mark.parametrize('case', sorted(CASES))
def test_native_proposals_equal_those_of_mxnet(case):
    im_info, changes = CASES[case]
    settings = dict(SETTINGS, **changes)
    prob, deltas = rpn_output(5, 7, seed=1)
    if case == 'parts_of_cells':
        settings['pre_nms_top_n'] = 80  # of 4 x 6 cells: MXNet sorts the others, whose scores are equal, in any order
    found = exported_proposals(prob, deltas, im_info, native=True, **settings)
    expected = mx.nd.contrib.MultiProposal(
        mx.nd.array(prob), mx.nd.array(deltas), mx.nd.array([im_info]), feature_stride=16, scales=ANCHORS['scales'],
        ratios=ANCHORS['ratios'], rpn_pre_nms_top_n=settings['pre_nms_top_n'], threshold=settings['nms_thresh'],
        rpn_post_nms_top_n=settings['post_nms_top_n'], rpn_min_size=settings['min_size']).asnumpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_where_no_box_is_large_enough_the_best_one_is_every_proposal():
    prob, deltas = rpn_output(5, 7)
    settings = dict(SETTINGS, min_size=500)
    found = exported_proposals(prob, deltas, (80, 112, 1), native=False, **settings)
    expected, _ = propose(prob[0, A:], deltas[0], (80, 112, 1), base_anchors=BASE, stride=16, **settings)
    np.testing.assert_allclose(found[:, 1:], expected, atol=1e-4)
    assert len(np.unique(found, axis=0)) == 1


def test_growth_of_a_side_is_limited_but_for_native_proposals():
    prob, deltas = rpn_output(5, 7)
    deltas[:, 2::4] = 10        # exp(10) times the width, cut at the image either way; the limit is 62.5 times
    deltas[:, 0::4] = 200       # and far to the right, so that the left side shows the width
    limited = exported_proposals(prob, deltas, (80, 112, 1), native=False, **SETTINGS)
    unlimited = exported_proposals(prob, deltas, (80, 112, 1), native=True, **SETTINGS)
    assert limited[0, 1] == 111 and unlimited[0, 1] == 0


@pytest.mark.parametrize('count', [50, 300])
def test_best_anchors_equal_those_of_lib_and_zeros_fill_up(count):
    draws = np.random.RandomState(3)
    prob = draws.dirichlet([1, 1, 1], A * 35).T.reshape(1, 3, A * 5, 7).astype(np.float32)
    deltas = draws.normal(size=(1, 4 * A, 5, 7)).astype(np.float32)
    im_info = np.array([70, 112, 1], dtype=np.float32)
    rois, found_prob, found_deltas = evaluate(
        lambda graph: onnx_rpn.best_anchors(graph, 'prob', 'deltas', 'im_info', count=count, **ANCHORS),
        prob=prob, deltas=deltas, im_info=[im_info])
    anchors, expected_prob, expected_deltas = best_anchors(
        prob[0], deltas[0], im_info, base_anchors=BASE, stride=16, count=count)
    np.testing.assert_array_equal(rois[:, 1:], anchors)
    np.testing.assert_array_equal(found_prob[0], expected_prob)
    np.testing.assert_array_equal(found_deltas[0, :, 4:], expected_deltas)
    assert not found_deltas[0, :, :4].any() and bool(expected_prob[-1].any()) == (count == 50)


@pytest.mark.parametrize('max_per_image', [0, 7, 1000])
@pytest.mark.parametrize('class_agnostic', [True, False])
def test_detections_equal_those_of_lib_class_by_class(class_agnostic, max_per_image):
    draws = np.random.RandomState(5)
    low = draws.uniform(0, 90, (60, 2))
    rois = np.hstack((np.zeros((60, 1)), low, low + draws.uniform(5, 60, (60, 2)))).astype(np.float32)
    prob = draws.dirichlet([1, 1, 1, 1], 60).astype(np.float32)
    deltas = draws.normal(0, 0.2, (60, 8 if class_agnostic else 16)).astype(np.float32)
    settings = dict(class_agnostic=class_agnostic, thresh=0.2, nms_thresh=0.3, max_per_image=max_per_image)
    boxes, scores, classes = evaluate(
        lambda graph: detections(graph, 'rois', 'prob', 'deltas', 'im_info', num_classes=4, **settings),
        rois=rois, prob=prob[None], deltas=deltas[None], im_info=[[120, 150, 1.6]])
    assert classes.dtype == np.int64 and (np.diff(scores) <= 0).all()
    expected = per_class_nms(*detect(rois, prob, deltas, im_shape=(120, 150), scale=1.6), **settings)
    assert len(expected[1]) and not len(expected[0])
    for number in range(4):
        found = np.hstack((boxes, scores[:, None]))[classes == number]
        np.testing.assert_allclose(found, expected[number], atol=1e-4)


def test_a_box_of_less_than_no_width_neither_suppresses_nor_is_suppressed():
    # Of RoIs of half a pixel, halved: in pixels of the image, four times as large, x2 is 3 less than x1.
    rois = np.array([[0, 10, 10, 9.6, 30], [0, 8, 10, 12, 30]])
    deltas = np.zeros((1, 2, 8))
    deltas[0, 0, 6] = -0.7
    prob = np.array([[[0.1, 0.9], [0.2, 0.8]]])
    settings = dict(class_agnostic=True, thresh=0.1, nms_thresh=0.01, max_per_image=0)
    boxes, scores, _ = evaluate(
        lambda graph: detections(graph, 'rois', 'prob', 'deltas', 'im_info', num_classes=2, **settings),
        rois=rois, prob=prob, deltas=deltas, im_info=[[100, 100, 0.25]])
    expected = per_class_nms(*detect(rois, prob[0], deltas[0], im_shape=(100, 100), scale=0.25), **settings)[1]
    np.testing.assert_allclose(np.hstack((boxes, scores[:, None])), expected, atol=1e-4)
    assert boxes[0, 2] - boxes[0, 0] + 1 < 0


def test_detections_that_tie_with_the_last_one_stay():
    rois = np.array([[0, 100 * i, 0, 100 * i + 9, 9] for i in range(4)])
    prob = np.array([[0.1, 0.9], [0.5, 0.5], [0.5, 0.5], [0.8, 0.2]])[None]
    boxes, scores, classes = evaluate(
        lambda graph: detections(graph, 'rois', 'prob', 'deltas', 'im_info', num_classes=2, class_agnostic=True,
                                 thresh=0.1, nms_thresh=0.3, max_per_image=2),
        rois=rois, prob=prob, deltas=np.zeros((1, 4, 8)), im_info=[[500, 500, 1]])
    np.testing.assert_allclose(scores, [0.9, 0.5, 0.5], atol=1e-6)
    np.testing.assert_array_equal(boxes[:, 0], [0, 200, 100])


@pytest.mark.parametrize('class_agnostic', [True, False])
def test_of_overlapping_detections_of_equal_score_the_same_one_stays_as_in_lib(class_agnostic):
    # IoU 8 / 12 of the first two and of the next two; the last one, far away, repeats the second's score.
    rois = np.array([[0, x, 0, x + 9, 9] for x in (0, 2, 100, 102, 200)], dtype=np.float32)
    prob = np.array([[0.5, 0.5], [0.5, 0.5], [0.2, 0.8], [0.2, 0.8], [0.5, 0.5]], dtype=np.float32)
    settings = dict(class_agnostic=class_agnostic, thresh=0.1, nms_thresh=0.3, max_per_image=0)
    boxes, scores, _ = evaluate(
        lambda graph: detections(graph, 'rois', 'prob', 'deltas', 'im_info', num_classes=2, **settings),
        rois=rois, prob=prob[None], deltas=np.zeros((1, 5, 8)), im_info=[[500, 500, 1]])
    expected = per_class_nms(*detect(rois, prob, np.zeros((5, 8)), im_shape=(500, 500), scale=1), **settings)[1]
    np.testing.assert_array_equal(boxes[:, 0], [102, 200, 2])
    np.testing.assert_allclose(np.hstack((boxes, scores[:, None])), expected)


def test_where_nothing_scores_enough_there_are_no_detections():
    boxes, scores, classes = evaluate(
        lambda graph: detections(graph, 'rois', 'prob', 'deltas', 'im_info', num_classes=2, class_agnostic=True,
                                 thresh=0.5, nms_thresh=0.3, max_per_image=2),
        rois=[[0, 0, 0, 9, 9]], prob=[[[0.9, 0.1]]], deltas=np.zeros((1, 1, 8)), im_info=[[50, 50, 1]])
    assert boxes.shape == (0, 4) and scores.shape == classes.shape == (0,)


def test_detections_of_the_releases_rules_grow_without_a_limit():
    rois, deltas = np.array([[0, 40, 40, 49, 49]]), np.zeros((1, 1, 8))
    deltas[0, 0, 6:] = 5        # above log(1000 / 16) = 4.135, which is the limit otherwise
    sides = []
    for limit in (MAX_LOG_RATIO, None):
        boxes, _, _ = evaluate(
            lambda graph, limit=limit: detections(graph, 'rois', 'prob', 'deltas', 'im_info', num_classes=2, thresh=0.5,
                                                  class_agnostic=True, nms_thresh=0.3, max_per_image=0,
                                                  max_log_ratio=limit),
            rois=rois, prob=[[[0.1, 0.9]]], deltas=deltas, im_info=[[4000, 4000, 1]])
        sides.append(boxes[0, 2])
    # 44.5 + half of (10 * 62.5 - 1), and of (10 * exp(5) - 1); the left side is cut off by the image
    np.testing.assert_allclose(sides, [356.5, 786.07], atol=0.1)
