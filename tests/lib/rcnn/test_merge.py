"""Candidates of several views of one image."""
import numpy as np

from lib.rcnn.detection import merge_views


def test_the_candidates_of_all_views_are_pooled():
    scores, boxes = merge_views([(np.array([[.1, .9]]), np.array([[0., 0, 9, 9]]), None),
                                 (np.array([[.2, .8], [.3, .7]]), np.array([[5., 5, 6, 6], [1, 2, 3, 4]]), None)])
    assert scores.tolist() == [[.1, .9], [.2, .8], [.3, .7]]
    assert boxes.tolist() == [[0, 0, 9, 9], [5, 5, 6, 6], [1, 2, 3, 4]]


def test_the_boxes_of_a_mirror_image_are_mirrored_back():
    # In an image of 100 pixels column 0 is column 99 of its mirror image. Two sets of boxes a row.
    boxes = np.array([[0., 10, 9, 20, 50, 30, 99, 40]])
    _, merged = merge_views([(np.array([[0., 1]]), boxes, 100)])
    assert merged.tolist() == [[90, 10, 99, 20, 0, 30, 49, 40]]
    assert boxes.tolist() == [[0, 10, 9, 20, 50, 30, 99, 40]]
