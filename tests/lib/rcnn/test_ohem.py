"""Online hard example mining."""
import math

import numpy as np
import pytest

from lib.rcnn.sample_rois import box_annotator_ohem, cross_entropy, smooth_l1


def test_smooth_l1_is_a_parabola_near_zero_and_straight_outside():
    np.testing.assert_array_equal(smooth_l1(np.array([-3, -1, -0.5, 0, 0.5, 2])), [2.5, 0.5, 0.125, 0, 0.125, 1.5])


def test_cross_entropy_is_minus_the_logarithm_of_the_softmax():
    scores = np.array([[0, math.log(3)], [0, math.log(3)], [0, -1000]], dtype=np.float32)
    # Probabilities 1/4 and 3/4; a probability of 0 counts as 1e-14.
    np.testing.assert_allclose(cross_entropy(scores, np.array([0, 1, 1])),
                               [math.log(4), math.log(4 / 3), 14 * math.log(10)], rtol=1e-5)


def batch(labels, class_losses=None, box_errors=None):
    """Arguments of `box_annotator_ohem`: two classes, with the given cross-entropies and errors of the first delta."""
    labels = np.array(labels, dtype=np.float32)
    probability = np.exp(-np.array(class_losses if class_losses else np.ones(len(labels))))
    score = np.log(probability / (1 - probability))             # of the right class, against 0 for the other
    cls_score = np.zeros((len(labels), 2), dtype=np.float32)
    cls_score[np.arange(len(labels)), np.maximum(labels, 0).astype(int)] = score
    bbox_pred = np.zeros((len(labels), 8), dtype=np.float32)
    bbox_pred[:, 4] = box_errors if box_errors else 0
    weights = np.where(labels[:, None] > 0, np.float32([[0] * 4 + [1] * 4]), np.float32(0))
    return cls_score, bbox_pred, labels, np.zeros_like(bbox_pred), weights


def test_only_the_rois_of_the_highest_loss_train():
    labels, weights = box_annotator_ohem(*batch([0, 1, 0, 1], class_losses=[0.1, 0.4, 0.3, 0.2]), roi_per_img=2)
    np.testing.assert_array_equal(labels, [-1, 1, 0, -1])
    np.testing.assert_array_equal(weights[:, 4], [0, 1, 0, 0])


def test_the_loss_of_the_box_counts_where_it_has_a_weight():
    # The second box is off by 2: 1.5; that of the third has no weight.
    arguments = batch([1, 1, 0, 0], class_losses=[0.5, 0.1, 0.1, 0.4], box_errors=[0, 2, 9, 0])
    labels, _ = box_annotator_ohem(*arguments, roi_per_img=2)
    np.testing.assert_array_equal(labels, [1, 1, -1, -1])


def test_all_train_where_there_are_fewer_than_asked_for():
    arguments = batch([0, 1, 0])
    labels, weights = box_annotator_ohem(*arguments, roi_per_img=128)
    np.testing.assert_array_equal(labels, arguments[2])
    np.testing.assert_array_equal(weights, arguments[4])


def test_padding_is_never_taken():
    arguments = batch([-1, 0, 1, -1], class_losses=[3.0, 0.1, 0.2, 3.0])
    arguments[4][:] = 1
    for roi_per_img, expected in ((1, [-1, -1, 1, -1]), (3, [-1, 0, 1, -1])):
        labels, weights = box_annotator_ohem(*arguments, roi_per_img=roi_per_img)
        np.testing.assert_array_equal(labels, expected)
        np.testing.assert_array_equal(weights[:, 0], np.array(expected) >= 0)


def test_the_arguments_are_not_changed():
    arguments = batch([0, 1, 0, 1])
    copies = [array.copy() for array in arguments]
    box_annotator_ohem(*arguments, roi_per_img=1)
    for array, copy in zip(arguments, copies):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize('number', range(4))
def test_choices_equal_the_originals(golden_cases, number):
    vectors, cases = golden_cases('ohem')
    arguments = [vectors['%s_%d' % (name, number)]
                 for name in ('cls_score', 'bbox_pred', 'labels', 'bbox_targets', 'bbox_weights')]
    labels, weights = box_annotator_ohem(*arguments, roi_per_img=cases[number]['roi_per_img'])
    np.testing.assert_array_equal(labels, vectors['labels_ohem_%d' % number])
    np.testing.assert_array_equal(weights, vectors['bbox_weights_ohem_%d' % number])
