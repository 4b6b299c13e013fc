"""Boxes: overlap, encoding, decoding, clipping, flipping."""
import math

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.bbox import bbox_transform
from lib.bbox.bbox_transform import (
    MAX_LOG_RATIO,
    bbox_overlaps,
    bbox_overlaps_py,
    clip_boxes,
    flip_boxes,
    nonlinear_pred,
    nonlinear_transform,
)

compiled = pytest.mark.skipif(bbox_transform.bbox_overlaps_cython is None, reason='lib.bbox.bbox is not built')


@st.composite
def some_boxes(draw, at_least=0):
    """(N, 4) float64 boxes of whole and broken pixels, from one pixel to larger than an image."""
    num = draw(st.integers(at_least, 12))
    corner = draw(hnp.arrays(np.float64, (num, 2), elements=st.floats(-100, 1000, width=32)))
    side = draw(hnp.arrays(np.float64, (num, 2), elements=st.floats(0, 1500, width=32)))
    return np.hstack((corner, corner + side))


@pytest.mark.parametrize('overlaps', [bbox_overlaps, bbox_overlaps_py])
class TestOverlaps:
    def test_overlap_counts_the_pixels_of_both_corners(self, overlaps):
        boxes = np.array([[0, 0, 9, 9]])
        others = np.array([[5, 5, 14, 14],      # shares 5 x 5 of 100 + 100 pixels: 25 / 175
                           [9, 0, 18, 9],       # shares a column of 10: 10 / 190
                           [10, 0, 19, 9],      # begins where the first has ended
                           [0, 0, 9, 9],
                           [2, 3, 3, 7]])       # inside: 2 x 5 of 100
        np.testing.assert_array_equal(overlaps(boxes, others), [[25 / 175, 10 / 190, 0, 1, 10 / 100]])

    def test_a_box_of_one_pixel_overlaps_itself_wholly(self, overlaps):
        assert overlaps(np.array([[3, 4, 3, 4]]), np.array([[3, 4, 3, 4]])) == 1

    def test_boxes_without_area_overlap_nothing(self, overlaps):
        nothing = np.array([[5.0, 5, 4, 4]])
        assert overlaps(nothing, nothing) == 0

    @pytest.mark.parametrize('num,num_queries', [(0, 3), (3, 0), (0, 0)])
    def test_no_boxes_give_an_empty_table(self, overlaps, num, num_queries):
        assert overlaps(np.zeros((num, 4)), np.zeros((num_queries, 5))).shape == (num, num_queries)

    def test_further_columns_do_not_matter(self, overlaps):
        dets = np.array([[0, 0, 9, 9, 0.3], [5, 5, 14, 14, 0.1]], dtype=np.float32)
        np.testing.assert_array_equal(overlaps(dets, dets), overlaps(dets[:, :4], dets[:, :4]))

    def test_boxes_may_lie_in_memory_column_by_column(self, overlaps):
        x1, y1, x2, y2 = np.array([[0.0, 2], [0, 3], [9, 3], [9, 7]])
        boxes = np.array([x1, y1, x2, y2]).T        # 2 x 5 of 100 pixels are shared
        np.testing.assert_array_equal(overlaps(boxes, boxes), [[1, 0.1], [0.1, 1]])

    @pytest.mark.parametrize('bad', [np.zeros(4), np.zeros((2, 3)), np.zeros((2, 4, 1))])
    def test_arrays_of_another_shape_are_refused(self, overlaps, bad):
        with pytest.raises(ValueError, match='query_boxes must have the shape'):
            overlaps(np.zeros((2, 4)), bad)

    def test_overlaps_equal_the_originals(self, overlaps, golden_cases):
        vectors, _ = golden_cases('boxes')
        np.testing.assert_array_equal(overlaps(vectors['a'], vectors['q']), vectors['overlaps'])


@compiled
@settings(max_examples=100, deadline=None)
@given(some_boxes(), some_boxes())
def test_compiled_overlaps_equal_those_of_numpy_to_the_last_bit(boxes, others):
    np.testing.assert_array_equal(bbox_overlaps(boxes, others), bbox_overlaps_py(boxes, others))


def test_numpy_takes_over_where_nothing_is_compiled(monkeypatch):
    monkeypatch.setattr(bbox_transform, 'bbox_overlaps_cython', None)
    np.testing.assert_array_equal(bbox_overlaps(np.array([[0, 0, 9, 9]]), np.array([[0, 0, 9, 19]])), [[0.5]])


@settings(max_examples=50, deadline=None)
@given(some_boxes(), some_boxes())
def test_overlap_is_symmetric_and_lies_between_0_and_1(boxes, others):
    overlaps = bbox_overlaps(boxes, others)
    np.testing.assert_array_equal(overlaps, bbox_overlaps(others, boxes).T)
    assert ((overlaps >= 0) & (overlaps <= 1)).all()


def test_deltas_are_shifts_in_units_of_the_side_and_logarithms_of_growth():
    box = np.array([[0.0, 0, 9, 19]])           # 10 x 20 around (4.5, 9.5)
    target = np.array([[10.0, 10, 29, 49]])     # 20 x 40 around (19.5, 29.5)
    np.testing.assert_allclose(nonlinear_transform(box, target), [[15 / 10, 20 / 20, math.log(2), math.log(2)]])
    np.testing.assert_allclose(nonlinear_pred(box, np.array([[1.5, 1, math.log(2), math.log(2)]])), target)


def test_deltas_of_float32_boxes_are_float32():
    assert nonlinear_transform(np.ones((1, 4), np.float32), np.ones((1, 4), np.float32)).dtype == np.float32


@settings(max_examples=50, deadline=None)
@given(some_boxes(at_least=1), st.randoms(use_true_random=False))
def test_a_box_decodes_to_itself_after_encoding(boxes, random):
    targets = boxes[random.sample(range(len(boxes)), len(boxes))]
    decoded = nonlinear_pred(boxes, nonlinear_transform(boxes, targets), max_log_ratio=None)
    np.testing.assert_allclose(decoded, targets, atol=1e-6)


def test_every_class_has_its_own_four_deltas():
    deltas = np.array([[0, 0, 0, 0, 0.5, 0, 0, 0]])         # the second moves right by half a width of 10
    np.testing.assert_array_equal(nonlinear_pred(np.array([[0, 0, 9, 9]]), deltas), [[0, 0, 9, 9, 5, 0, 14, 9]])


def test_growth_is_limited_and_the_limit_can_be_switched_off():
    box = np.array([[0, 0, 15, 15]], dtype=np.float32)      # 16 x 16 around (7.5, 7.5)
    deltas = np.array([[0, 0, 5, 500]], dtype=np.float32)
    # 16 * exp(log(1000 / 16)) = 1000 pixels: from 7.5 - 999 / 2 to 7.5 + 999 / 2
    np.testing.assert_allclose(nonlinear_pred(box, deltas), [[-492, -492, 507, 507]], rtol=1e-5)
    with np.errstate(over='ignore'):
        unlimited = nonlinear_pred(box, deltas, max_log_ratio=None)
    assert unlimited[0, 2] - unlimited[0, 0] + 1 == pytest.approx(16 * math.exp(5), rel=1e-6)
    assert np.isinf(unlimited[0, 3])


def test_deltas_below_the_limit_are_not_changed():
    boxes = np.array([[10.0, 20, 30, 40]])
    deltas = np.array([[0.1, -0.2, MAX_LOG_RATIO - 1e-3, -7]])
    np.testing.assert_array_equal(nonlinear_pred(boxes, deltas), nonlinear_pred(boxes, deltas, max_log_ratio=None))


def test_no_boxes_decode_to_no_boxes():
    assert nonlinear_pred(np.zeros((0, 4)), np.zeros((0, 8))).shape == (0, 8)


@pytest.mark.parametrize('boxes,deltas', [((2, 4), (3, 4)), ((2, 4), (2, 6))])
def test_deltas_that_do_not_go_with_the_boxes_are_refused(boxes, deltas):
    with pytest.raises(ValueError, match='do not go with deltas'):
        nonlinear_pred(np.zeros(boxes), np.zeros(deltas))


def test_boxes_that_cannot_be_paired_are_refused():
    with pytest.raises(ValueError, match='2 boxes cannot be paired with 3'):
        nonlinear_transform(np.zeros((2, 4)), np.zeros((3, 4)))


def test_clipping_moves_corners_to_the_border_of_the_image():
    boxes = np.array([[-5, -1, 120, 40], [0, 0, 99, 49], [-9, 60, -3, 70]], dtype=np.float32)
    clipped = clip_boxes(boxes, (50, 100))                  # 50 high, 100 wide: the last pixel is (99, 49)
    np.testing.assert_array_equal(clipped, [[0, 0, 99, 40], [0, 0, 99, 49], [0, 49, 0, 49]])
    assert clipped.dtype == np.float32 and boxes[0, 0] == -5


def test_flipping_exchanges_left_and_right():
    np.testing.assert_array_equal(flip_boxes(np.array([[0, 3, 9, 8]]), 100), [[90, 3, 99, 8]])


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(np.int64, (5, 4), elements=st.integers(0, 2000)), st.integers(1, 3000))
def test_flipping_twice_changes_nothing(boxes, width):
    boxes = boxes.astype(np.float32)
    np.testing.assert_array_equal(flip_boxes(flip_boxes(boxes, width), width), boxes)


def test_encoding_equals_the_originals(golden_cases):
    vectors, _ = golden_cases('boxes')
    boxes, targets = vectors['a'], vectors['gt']
    np.testing.assert_allclose(nonlinear_transform(boxes, targets), vectors['transform'], rtol=1e-10, atol=1e-10)
    as_float32 = nonlinear_transform(boxes.astype(np.float32), targets.astype(np.float32))
    assert as_float32.dtype == np.float32
    np.testing.assert_array_equal(as_float32, vectors['transform_f32'])


@pytest.mark.parametrize('name', ['2', 'C'])
def test_decoding_and_clipping_equal_the_originals(golden_cases, name):
    vectors, _ = golden_cases('boxes')
    deltas = vectors['deltas_' + name]
    decoded = nonlinear_pred(vectors['a'][:len(deltas)].astype(np.float32), deltas)
    np.testing.assert_allclose(decoded, vectors['pred_' + name], rtol=1e-7)
    np.testing.assert_allclose(clip_boxes(decoded, vectors['im_shape']), vectors['clip_' + name], rtol=1e-7)
