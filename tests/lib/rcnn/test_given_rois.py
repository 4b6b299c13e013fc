"""RoIs and targets from proposals that are given."""
import numpy as np
import pytest

from lib.rcnn.given_rois import add_roi_targets

# The object is 20 x 20 at the origin; the first proposal is moved right by 5: IoU 15 * 20 / (2 * 400 - 300) = 0.6.
OBJECT, MOVED, FAR = [0, 0, 19, 19], [5, 0, 24, 19], [60, 60, 79, 79]
AS_THEY_ARE = dict(bbox_means=(0,) * 4, bbox_stds=(1,) * 4)


def entry(**changes):
    fields = dict(image='a.jpg', height=100, width=100, boxes=np.array([OBJECT], dtype=np.float32), flipped=False,
                  gt_classes=np.array([2], dtype=np.int32),
                  proposals=np.array([MOVED + [0.9], FAR + [0.1]], dtype=np.float32))
    return dict(fields, **changes)


def test_rois_are_the_objects_and_then_the_proposals_each_with_its_best_object():
    (made,), _, _ = add_roi_targets([entry()], num_classes=3, class_agnostic=True, **AS_THEY_ARE)
    np.testing.assert_array_equal(made['rois'], [OBJECT, MOVED, FAR])
    np.testing.assert_allclose(made['max_overlaps'], [1, 0.6, 0], rtol=1e-6)
    np.testing.assert_array_equal(made['max_classes'][:2], [2, 2])
    # From MOVED to the object: -5 pixels of its width of 20 in x, and no other change.
    np.testing.assert_allclose(made['bbox_targets'], [[2, 0, 0, 0, 0], [2, -0.25, 0, 0, 0], [0, 0, 0, 0, 0]], atol=1e-7)


def test_the_objects_stay_and_the_proposals_go():
    given = entry()
    (made,), _, _ = add_roi_targets([given], num_classes=3, class_agnostic=True)
    np.testing.assert_array_equal(made['boxes'], [OBJECT])
    assert 'proposals' not in made and 'proposals' in given
    assert made['rois'].dtype == made['bbox_targets'].dtype == made['max_overlaps'].dtype == np.float32


def test_only_rois_of_enough_overlap_have_a_box_to_predict():
    (made,), _, _ = add_roi_targets([entry()], num_classes=3, class_agnostic=True, thresh=0.7, **AS_THEY_ARE)
    np.testing.assert_array_equal(made['bbox_targets'][:, 0], [2, 0, 0])


@pytest.mark.parametrize('class_agnostic, first', [(True, 4), (False, 8)])
def test_means_and_deviations_are_measured_on_the_targets(class_agnostic, first):
    # dx is 0 for the object itself and -0.25 for MOVED: mean -0.125, standard deviation 0.125. Class 2 stands third.
    (made,), means, stds = add_roi_targets([entry()], num_classes=3, class_agnostic=class_agnostic)
    assert len(means) == len(stds) == (8 if class_agnostic else 12)
    np.testing.assert_allclose(means[first:first + 4], [-0.125, 0, 0, 0], atol=1e-7)
    np.testing.assert_allclose(stds[first:first + 4], [0.125, 0, 0, 0], atol=1e-7)
    # (0 + 0.125) / 0.125 and (-0.25 + 0.125) / 0.125
    np.testing.assert_allclose(made['bbox_targets'][:2, 1], [1, -1], rtol=1e-5)


def test_an_image_without_objects_has_background_only():
    empty = entry(boxes=np.zeros((0, 4), dtype=np.float32), gt_classes=np.zeros(0, dtype=np.int32))
    (made, _), _, _ = add_roi_targets([empty, entry()], num_classes=3, class_agnostic=True)
    np.testing.assert_array_equal(made['rois'], [MOVED, FAR])
    np.testing.assert_array_equal(made['max_overlaps'], [0, 0])
    np.testing.assert_array_equal(made['bbox_targets'], np.zeros((2, 5)))
