"""Anchors and their order."""
import numpy as np
import pytest

from lib.rpn.anchors import generate_anchors, shifted_anchors


def test_anchors_are_scaled_around_the_centre_of_the_first_cell():
    # A square of 256 pixels around (7.5, 7.5). Ratio 0.5: round(sqrt(512)) = 23 wide, round(11.5) = 12 high.
    # Times 8 that is 184 x 96: 91.5 pixels to either side of the centre, 47.5 up and down.
    np.testing.assert_array_equal(generate_anchors(16, (0.5,), (8,)), [[-84, -40, 99, 55]])
    np.testing.assert_array_equal(generate_anchors(16, (1,), (1, 2)), [[0, 0, 15, 15], [-8, -8, 23, 23]])


def test_scales_vary_faster_than_ratios():
    anchors = generate_anchors(16, (0.5, 1, 2), (8, 16))
    sides = anchors[:, 2:] - anchors[:, :2] + 1
    np.testing.assert_array_equal(sides, [[184, 96], [368, 192], [128, 128], [256, 256], [88, 176], [176, 352]])
    assert anchors.dtype == np.float32


def test_cells_follow_each_other_row_by_row_and_the_anchors_of_one_stay_together():
    base = np.array([[0, 0, 15, 15], [-8, -8, 23, 23]], dtype=np.float32)
    anchors = shifted_anchors(2, 3, 16, base)
    assert anchors.shape == (2 * 3 * 2, 4) and anchors.dtype == np.float32
    for y, x, a in np.ndindex(2, 3, 2):
        np.testing.assert_array_equal(anchors[(y * 3 + x) * 2 + a], base[a] + [16 * x, 16 * y, 16 * x, 16 * y])


def test_a_map_without_cells_has_no_anchors():
    assert shifted_anchors(0, 3, 16, generate_anchors()).shape == (0, 4)


@pytest.mark.parametrize('case', range(4))
def test_anchors_equal_the_originals(golden_cases, case):
    vectors, cases = golden_cases('anchors')
    np.testing.assert_array_equal(generate_anchors(**cases[case]), vectors['anchors_%d' % case])
