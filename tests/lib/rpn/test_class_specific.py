"""An RPN that tells the classes: its labels, and the anchors that are worth a look."""
import numpy as np

from lib.rpn.anchors import class_labels
from lib.rpn.proposal import best_anchors

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
