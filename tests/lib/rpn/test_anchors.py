"""Anchors, their order, their targets; an RPN that predicts the classes."""
import numpy as np
import pytest

from experiments.compare.targets import ANCHOR_KEYS
from lib.rpn.anchors import (
    anchorless,
    anchors_inside,
    as_blobs,
    assign_anchor,
    cells_inside,
    class_labels,
    generate_anchors,
    shifted_anchors,
)
from lib.rpn.proposal import best_anchors


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
    assert anchors.shape == (2 * 3 * 2, 4)
    for y, x, a in np.ndindex(2, 3, 2):
        np.testing.assert_array_equal(anchors[(y * 3 + x) * 2 + a], base[a] + [16 * x, 16 * y, 16 * x, 16 * y])


def test_a_map_without_cells_has_no_anchors():
    assert shifted_anchors(0, 3, 16, generate_anchors()).shape == (0, 4)


@pytest.mark.parametrize('case', range(4))
def test_anchors_equal_the_originals(golden_cases, case):
    vectors, cases = golden_cases('anchors')
    np.testing.assert_array_equal(generate_anchors(**cases[case]), vectors['anchors_%d' % case])


NO_OBJECT = np.zeros((0, 5), dtype=np.float32)


def boxes_of(*rows):
    return np.array(rows, dtype=np.float32)


ANCHORS = boxes_of([0, 0, 9, 9],        # 0
                   [0, 0, 9, 19],       # 1: overlaps the first by 100 / 200
                   [40, 40, 49, 49],    # 2
                   [40, 40, 49, 89],    # 3: overlaps the third by 100 / 500
                   [95, 0, 104, 9])     # 4: leaves an image of 100 x 100


def test_anchors_are_positive_negative_or_ignored_by_their_overlap():
    labels, targets, weights = assign_anchor(ANCHORS, boxes_of([0, 0, 9, 9, 3]), (100, 100))
    np.testing.assert_array_equal(labels, [1, -1, 0, 0, -1])
    np.testing.assert_array_equal(weights, [[1] * 4] + [[0] * 4] * 4)
    # From 10 x 20 around (4.5, 9.5) to 10 x 10 around (4.5, 4.5): dy = -5 / 20, dh = log(1 / 2)
    np.testing.assert_allclose(targets[:2], [[0] * 4, [0, -0.25, 0, np.log(0.5)]], rtol=1e-6)
    assert labels.dtype == targets.dtype == weights.dtype == np.float32


def test_every_anchor_inside_has_a_target_and_those_outside_have_none():
    _, targets, _ = assign_anchor(ANCHORS, boxes_of([5, 5, 20, 20, 3]), (100, 100))
    np.testing.assert_array_equal(np.abs(targets).sum(axis=1) > 0, [True, True, True, True, False])


def test_all_anchors_that_overlap_an_object_most_are_positive_whatever_the_scale():
    # Anchors of 17.6 x 17.6 pixels in 20 x 20 cells, those of the first row and column begin outside. All others lie
    # within the object: their IoU is the same.
    anchors = shifted_anchors(20, 20, 16, generate_anchors(16, (1,), (1.1,)))
    labels, _, _ = assign_anchor(anchors, boxes_of([0, 0, 329, 329, 1]), (330, 330), batch_size=1000)
    inside = anchors_inside(anchors, (330, 330))
    assert len(inside) == 19 * 19
    np.testing.assert_array_equal(np.flatnonzero(labels == 1), inside)


def test_the_best_anchor_of_an_object_is_positive_even_at_a_small_overlap():
    labels, _, _ = assign_anchor(ANCHORS, boxes_of([40, 80, 49, 99, 1]), (100, 100))     # 100 / 600 with anchor 3
    np.testing.assert_array_equal(labels, [0, 0, 0, 1, -1])


def test_anchors_that_tie_for_an_object_are_all_positive():
    anchors = boxes_of([0, 0, 9, 9], [10, 0, 19, 9], [50, 50, 59, 59])
    labels, _, _ = assign_anchor(anchors, boxes_of([5, 0, 14, 9, 1]), (100, 100))    # 50 / 150 with the first two
    np.testing.assert_array_equal(labels, [1, 1, 0])


def test_clobbering_makes_the_best_anchor_negative_below_the_threshold():
    labels, _, _ = assign_anchor(ANCHORS, boxes_of([40, 80, 49, 99, 1]), (100, 100), clobber_positives=True)
    np.testing.assert_array_equal(labels, [0, 0, 0, 0, -1])


def test_thresholds_are_met_from_above():
    anchors = boxes_of([0, 0, 9, 9], [0, 0, 9, 19])                                      # overlaps 1 and 100 / 200
    objects = boxes_of([0, 0, 9, 9, 1])
    assert assign_anchor(anchors, objects, (100, 100), fg_thresh=0.5)[0][1] == 1
    assert assign_anchor(anchors, objects, (100, 100), bg_thresh=0.5)[0][1] == -1
    assert assign_anchor(anchors, objects, (100, 100), bg_thresh=0.51)[0][1] == 0


def test_an_object_that_no_anchor_touches_has_no_anchor():
    untouched = boxes_of([70, 20, 79, 29, 1])
    labels, _, weights = assign_anchor(ANCHORS, untouched, (100, 100))
    np.testing.assert_array_equal(labels, [0, 0, 0, 0, -1])
    assert not weights.any()


def test_the_releases_rule_for_untouched_objects_can_be_had():
    labels, _, _ = assign_anchor(ANCHORS, boxes_of([70, 20, 79, 29, 1]), (100, 100), untouched_objects_match=True)
    np.testing.assert_array_equal(labels, [1, 1, 1, 1, -1])


def test_without_objects_all_anchors_inside_are_negative():
    labels, targets, weights = assign_anchor(ANCHORS, NO_OBJECT, (100, 100))
    np.testing.assert_array_equal(labels, [0, 0, 0, 0, -1])
    assert not targets.any() and not weights.any()


def test_rows_of_a_negative_class_are_padding():
    padded = boxes_of([0, 0, 9, 9, 3], [0, 0, 0, 0, -1], [40, 40, 49, 49, -1])
    result, without = assign_anchor(ANCHORS, padded, (100, 100)), assign_anchor(ANCHORS, padded[:1], (100, 100))
    for given, expected in zip(result, without):
        np.testing.assert_array_equal(given, expected)


@pytest.mark.parametrize('objects', [NO_OBJECT, boxes_of([0, 0, 3, 3, 1])])
def test_an_image_without_room_for_an_anchor_trains_nothing(objects):
    labels, targets, weights = assign_anchor(ANCHORS, objects, (5, 5))
    np.testing.assert_array_equal(labels, [-1] * 5)
    assert not targets.any() and not weights.any()


def test_anchors_may_leave_the_image_by_the_allowed_border():
    # Anchor 4 ends at x = 104, which is inside an image 105 wide.
    assert assign_anchor(ANCHORS, NO_OBJECT, (100, 100), allowed_border=4)[0][4] == -1
    assert assign_anchor(ANCHORS, NO_OBJECT, (100, 100), allowed_border=5)[0][4] == 0
    assert anchors_inside(boxes_of([0, 0, 9, 9], [0, 0, 10, 9], [0, 0, 9, 10]), (10, 10)).tolist() == [0]


def test_anchors_lie_inside_an_image_up_to_its_last_pixel():
    assert anchorless([[3, 3, 12, 12]], [[13, 13], [12, 13], [13, 12]]).tolist() == [False, True, True]
    # from -4 to 11, with the next cells from 12 to 27 and from 28 to 43
    first, last = cells_inside([[-4, -4, 11, 11]], [[44, 28], [43, 27]])
    assert first.tolist() == [[[1, 1]]] * 2 and last.tolist() == [[[2, 1]], [[1, 0]]]


@pytest.mark.parametrize('side', range(28, 40))
def test_the_cells_are_those_whose_anchors_train_whatever_the_scale(side):
    base = generate_anchors(16, (0.5, 1, 2), (1.1, 1.3))
    anchors = shifted_anchors(4, 4, 16, base)
    first, last = cells_inside(base, [[side, side]])
    inside = np.zeros((4, 4, len(base)), dtype=bool)
    inside.ravel()[anchors_inside(anchors, (side, side))] = True
    for number, ((x1, y1), (x2, y2)) in enumerate(zip(first[0], last[0])):
        rows, columns = np.nonzero(inside[:, :, number])
        assert set(zip(columns, rows)) == {(x, y) for x in np.arange(x1, x2 + 1) for y in np.arange(y1, y2 + 1)}


def test_the_batch_holds_as_many_of_each_kind_as_asked_for():
    anchors = shifted_anchors(20, 20, 16, generate_anchors(16, (1,), (2,)))
    objects = boxes_of([64, 64, 127, 127, 1], [200, 30, 231, 61, 2])
    options = dict(fg_thresh=0.2, bg_thresh=0.1, fg_fraction=0.25, rng=np.random.RandomState(0))
    everything = assign_anchor(anchors, objects, (320, 320), batch_size=10000, **options)[0]
    labels, _, weights = assign_anchor(anchors, objects, (320, 320), batch_size=32, **options)
    assert (everything == 1).sum() > 8
    assert (labels == 1).sum() == 8 and (labels == 0).sum() == 24
    assert (everything[labels >= 0] == labels[labels >= 0]).all()
    np.testing.assert_array_equal(weights[:, 0], labels == 1)


def test_one_random_state_gives_one_choice():
    anchors = shifted_anchors(20, 20, 16, generate_anchors(16, (1,), (2,)))
    first, again = [assign_anchor(anchors, NO_OBJECT, (320, 320), rng=np.random.RandomState(3))[0] for _ in range(2)]
    np.testing.assert_array_equal(first, again)


def test_weights_of_the_deltas_are_those_given():
    _, _, weights = assign_anchor(ANCHORS, boxes_of([0, 0, 9, 9, 3]), (100, 100), bbox_weights=(1, 2, 3, 4))
    np.testing.assert_array_equal(weights[0], [1, 2, 3, 4])


def test_blobs_keep_the_channels_of_an_anchor_together():
    height, width, num = 2, 3, 2
    labels = np.arange(12, dtype=np.float32)
    targets = np.arange(48, dtype=np.float32).reshape(12, 4)
    blobs = as_blobs(labels, targets, -targets, height, width)
    assert {name: blob.shape for name, blob in blobs.items()} == {
        'label': (1, 12), 'bbox_target': (1, 8, 2, 3), 'bbox_weight': (1, 8, 2, 3)}
    for y, x, a in np.ndindex(height, width, num):
        row = (y * width + x) * num + a
        assert blobs['label'].reshape(num, height, width)[a, y, x] == labels[row]
        np.testing.assert_array_equal(blobs['bbox_target'][0, 4 * a:4 * a + 4, y, x], targets[row])
        np.testing.assert_array_equal(blobs['bbox_weight'][0, 4 * a:4 * a + 4, y, x], -targets[row])


@pytest.mark.parametrize('number', range(8))
def test_targets_equal_the_originals(golden_cases, same_draws, number):
    vectors, cases = golden_cases('assign_anchor')
    case, (height, width) = cases[number], cases[number]['feat_shape'][2:]
    anchors = shifted_anchors(height, width, case['feat_stride'],
                              generate_anchors(case['feat_stride'], case['ratios'], case['scales']))
    np.random.seed(case['seed'])
    blobs = as_blobs(*assign_anchor(
        anchors, vectors['gt_%d' % number], vectors['im_info_%d' % number][0, :2],
        allowed_border=case['allowed_border'], untouched_objects_match=True,
        **{ANCHOR_KEYS[key]: value for key, value in case['overrides'].items()}), height, width)
    same_draws(case)
    targets, chosen = blobs['bbox_target'], np.flatnonzero(blobs['bbox_weight'])
    total, total_size = targets.sum(dtype=np.float64), np.abs(targets).sum(dtype=np.float64)
    assert {name: list(blob.shape) for name, blob in blobs.items()} == case['shapes']
    np.testing.assert_array_equal(blobs['label'], vectors['label_%d' % number])
    np.testing.assert_array_equal(chosen, vectors['bbox_weight_nonzero_%d' % number])
    np.testing.assert_array_equal(blobs['bbox_weight'].ravel()[chosen], vectors['bbox_weight_values_%d' % number])
    np.testing.assert_allclose(targets.ravel()[chosen], vectors['bbox_target_at_nonzero_%d' % number], 1e-5, 1e-6)
    np.testing.assert_allclose(total, vectors['bbox_target_sum_%d' % number], rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(total_size, vectors['bbox_target_abs_sum_%d' % number], rtol=1e-5)
    if 'bbox_target_%d' % number in vectors:
        np.testing.assert_allclose(targets, vectors['bbox_target_%d' % number], rtol=1e-5, atol=1e-6)


CELL = np.array([[0, 0, 15, 15], [-8, 0, 23, 15]], dtype=np.float32)  # two anchors a cell


def test_a_positive_anchor_has_the_class_of_the_object_that_it_overlaps_most():
    anchors = np.array([[0, 0, 9, 9], [20, 20, 29, 29], [0, 0, 9, 9], [50, 50, 59, 59]], dtype=np.float32)
    gt_boxes = np.array([[0, 0, 9, 4, 7], [0, 0, 9, 8, 3], [20, 20, 29, 29, 5], [50, 50, 59, 59, -1]], dtype=np.float32)
    labels = np.array([1, 1, 0, -1], dtype=np.float32)
    assert class_labels(labels, anchors, gt_boxes).tolist() == [3, 5, 0, -1]
    assert labels.tolist() == [1, 1, 0, -1]


def test_without_objects_there_is_nothing_to_name():
    labels = np.array([0, -1], dtype=np.float32)
    assert class_labels(labels, np.zeros((2, 4)), np.zeros((0, 5))).tolist() == [0, -1]


def probabilities(background):
    """(2, A * H, W) for two anchors on 1 x 3 cells, from the background's in anchor order."""
    prob = np.array(background, dtype=np.float32).reshape(1, 3, 2).transpose(2, 0, 1)  # (A, H, W)
    return np.stack([prob, 1 - prob]).reshape(2, 2, 3)


def test_the_anchors_come_from_the_least_likely_to_be_background():
    deltas = np.arange(24, dtype=np.float32).reshape(8, 1, 3)
    anchors, prob, found = best_anchors(probabilities([.9, .8, .7, .1, .6, .5]), deltas, (16, 48, 1), base_anchors=CELL,
                                        stride=16, count=2)
    np.testing.assert_array_equal(anchors, CELL[[1, 1]] + np.array([[16, 0, 16, 0], [32, 0, 32, 0]]))
    np.testing.assert_allclose(prob, [[.1, .9], [.5, .5]], rtol=1e-6)
    # Channels 4 to 7 are those of the second anchor; column 1 and 2 its cells.
    np.testing.assert_array_equal(found, [[13, 16, 19, 22], [14, 17, 20, 23]])


def test_cells_of_padding_are_not_looked_at_and_missing_rows_have_no_class():
    anchors, prob, _ = best_anchors(probabilities([.9, .8, .7, .1, .6, .5]), np.zeros((8, 1, 3), dtype=np.float32),
                                    (16, 17, 1), base_anchors=CELL, stride=16, count=3)
    np.testing.assert_array_equal(anchors, CELL[[1, 0]].tolist() + [[0, 0, 0, 0]])  # the first cell alone is inside
    np.testing.assert_allclose(prob, [[.8, .2], [.9, .1], [0, 0]], rtol=1e-6)
