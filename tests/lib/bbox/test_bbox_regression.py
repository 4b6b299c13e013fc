"""Targets of the box regression."""
import numpy as np
import pytest

from lib.bbox.bbox_regression import (
    add_bbox_regression_targets,
    compute_bbox_regression_targets,
    expand_bbox_regression_targets,
)


def test_targets_stand_where_their_class_has_its_outputs():
    data = np.array([[2, 1, 2, 3, 4], [0, 9, 9, 9, 9], [-1, 9, 9, 9, 9]])
    targets, weights = expand_bbox_regression_targets(data, 3, class_agnostic=False, bbox_weights=(1, 1, 0.5, 0.5))
    np.testing.assert_array_equal(targets, [[0] * 8 + [1, 2, 3, 4], [0] * 12, [0] * 12])
    np.testing.assert_array_equal(weights, [[0] * 8 + [1, 1, 0.5, 0.5], [0] * 12, [0] * 12])
    assert targets.dtype == weights.dtype == np.float32


def test_class_agnostic_targets_stand_in_the_second_of_two_places():
    targets, weights = expand_bbox_regression_targets(np.array([[7, 1, 2, 3, 4]]), 21, class_agnostic=True)
    np.testing.assert_array_equal(targets, [[0, 0, 0, 0, 1, 2, 3, 4]])
    np.testing.assert_array_equal(weights, [[0, 0, 0, 0, 1, 1, 1, 1]])


def test_no_rois_have_no_targets():
    targets, weights = expand_bbox_regression_targets(np.zeros((0, 5)), 3, class_agnostic=False)
    assert targets.shape == weights.shape == (0, 12)


def test_expanded_targets_equal_the_originals(golden_cases):
    vectors, _ = golden_cases('expand_targets')
    for i in range(sum(name.startswith('in_') for name in vectors.files)):
        class_agnostic, num_classes = vectors['args_%d' % i]
        targets, weights = expand_bbox_regression_targets(
            vectors['in_%d' % i], num_classes, class_agnostic=bool(class_agnostic),
            bbox_weights=vectors['bbox_weights_cfg_%d' % i])
        np.testing.assert_array_equal(targets, vectors['targets_%d' % i])
        np.testing.assert_array_equal(weights, vectors['weights_%d' % i])


def test_a_roi_is_to_predict_the_object_that_it_overlaps_most():
    rois = np.array([[0, 0, 9, 9], [50, 50, 59, 59],        # the objects
                     [0, 0, 9, 19],                         # overlaps the first by 100 / 200
                     [50, 50, 59, 79]], dtype=np.float32)   # overlaps the second by 100 / 300: too little
    targets = compute_bbox_regression_targets(rois, np.array([1, 1, 0.5, 1 / 3]), np.array([3, 4, 3, 4]))
    # From 10 x 20 around (4.5, 9.5) to 10 x 10 around (4.5, 4.5): dy = -5 / 20, dh = log(10 / 20)
    expected = [[3, 0, 0, 0, 0], [4, 0, 0, 0, 0], [3, 0, -0.25, 0, np.log(0.5)], [0] * 5]
    np.testing.assert_allclose(targets, expected, rtol=1e-6)


def test_an_image_without_objects_has_no_regression_targets():
    targets = compute_bbox_regression_targets(np.array([[0, 0, 9, 9]]), np.array([0.6]), np.array([1]))
    np.testing.assert_array_equal(targets, np.zeros((1, 5)))


def entry(*dy):
    """A roidb entry of an object of class 2 and of RoIs of its size, moved so that they need the given shifts."""
    boxes = np.array([[0, 0, 9, 9]] + [[0, -10 * d, 9, 9 - 10 * d] for d in dy])
    return {'boxes': boxes, 'max_overlaps': np.array([1.0] + [0.9] * len(dy)), 'max_classes': np.full(len(boxes), 2)}


def test_targets_are_normalised_by_the_mean_and_deviation_of_their_class():
    roidb = [entry(0.1), entry(0.2, 0.3)]                   # dy: 0, 0.1, 0, 0.2, 0.3: mean 0.12, mean of squares 0.028
    means, stds = add_bbox_regression_targets(roidb, num_classes=4, class_agnostic=False)
    deviation = np.sqrt(0.028 - 0.12 ** 2)
    np.testing.assert_allclose(means, [0] * 9 + [0.12] + [0] * 6, atol=1e-7)
    np.testing.assert_allclose(stds, [0] * 9 + [deviation] + [0] * 6, atol=1e-7)
    np.testing.assert_allclose(roidb[1]['bbox_targets'][:, 2], (np.array([0, 0.2, 0.3]) - 0.12) / deviation, rtol=1e-5)


def test_class_agnostic_targets_have_one_mean_and_deviation_of_all_classes():
    roidb = [dict(entry(0.1), max_classes=np.array([1, 1])), entry(0.2, 0.3)]       # the same shifts as above
    means, stds = add_bbox_regression_targets(roidb, num_classes=4, class_agnostic=True)
    deviation = np.sqrt(0.028 - 0.12 ** 2)
    np.testing.assert_allclose(means, [0] * 5 + [0.12, 0, 0], atol=1e-7)
    np.testing.assert_allclose(stds, [0] * 5 + [deviation, 0, 0], atol=1e-7)
    np.testing.assert_allclose(roidb[0]['bbox_targets'][:, 2], (np.array([0, 0.1]) - 0.12) / deviation, rtol=1e-5)


def test_a_class_with_one_example_gives_finite_targets():
    roidb = [entry()]
    add_bbox_regression_targets(roidb, num_classes=4, class_agnostic=False)
    np.testing.assert_array_equal(roidb[0]['bbox_targets'], [[2, 0, 0, 0, 0]])


@pytest.mark.parametrize('case', range(3))
def test_regression_targets_equal_the_originals(golden_cases, case):
    vectors, cases = golden_cases('bbox_regression')
    precomputed, class_agnostic = cases[case]['BBOX_NORMALIZATION_PRECOMPUTED'], cases[case]['CLASS_AGNOSTIC']
    roidb = [{key: vectors['%s_%d_%d' % (key, case, image)] for key in ('boxes', 'max_overlaps', 'max_classes')}
             for image in range(4)]
    for image, e in enumerate(roidb):
        raw = compute_bbox_regression_targets(e['boxes'], e['max_overlaps'], e['max_classes'])
        np.testing.assert_allclose(raw, vectors['raw_targets_%d_%d' % (case, image)], rtol=1e-5, atol=1e-7)
    means, stds = add_bbox_regression_targets(
        roidb, num_classes=len(vectors['means_%d' % case]) // 4, class_agnostic=class_agnostic,
        bbox_means=(0, 0, 0, 0) if precomputed else None, bbox_stds=(0.1, 0.1, 0.2, 0.2) if precomputed else None)
    np.testing.assert_allclose(means, vectors['means_%d' % case], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(stds, vectors['stds_%d' % case], rtol=1e-5, atol=1e-7)
    for image, e in enumerate(roidb):
        np.testing.assert_allclose(e['bbox_targets'], vectors['targets_%d_%d' % (case, image)], rtol=1e-5, atol=1e-6)
