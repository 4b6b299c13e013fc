"""Recall of proposals."""
import numpy as np
import pytest

from lib.rpn.proposal import best_overlaps, recall, recall_table

BOX = np.array([[0, 0, 9, 9]], dtype=np.float32)       # 100 pixels
HALF = np.array([[0, 0, 9, 4]], dtype=np.float32)      # its upper half: IoU 50 / 100
FIFTH = np.array([[0, 0, 9, 1]], dtype=np.float32)     # its upper fifth: IoU 20 / 100
FAR = np.array([[50, 50, 99, 99]], dtype=np.float32)   # 2500 pixels, meets none of them


def test_an_object_is_found_with_the_iou_of_its_best_proposal():
    np.testing.assert_allclose(best_overlaps(np.vstack((FIFTH, HALF, FAR)), BOX), [0.5])


def test_one_proposal_finds_one_object_only():
    # HALF is a proposal for both objects: with IoU 1 for itself, 0.5 for BOX. BOX gets the next best proposal, FIFTH.
    np.testing.assert_allclose(best_overlaps(np.vstack((HALF, FIFTH)), np.vstack((BOX, HALF))), [0.2, 1.0])
    np.testing.assert_allclose(best_overlaps(HALF, np.vstack((BOX, HALF))), [0.0, 1.0])


@pytest.mark.parametrize('proposals, boxes, expected', [(np.zeros((0, 5)), BOX, [0.0]), (BOX, np.zeros((0, 4)), [])])
def test_without_proposals_nothing_is_found_and_without_objects_there_is_nothing_to_find(proposals, boxes, expected):
    np.testing.assert_array_equal(best_overlaps(proposals, boxes), expected)


def test_recall_counts_objects_by_iou_and_by_the_number_of_proposals():
    # First image: IoU 0.2 with one proposal, 0.5 with two. Second image: found exactly by its one proposal.
    found = recall([np.vstack((FIFTH, HALF)), FAR], [BOX, FAR], counts=[1, 2], thresholds=[0.1, 0.5, 0.6])
    np.testing.assert_allclose(found, [[1, 0.5, 0.5], [1, 1, 0.5]])


def test_recall_can_be_limited_to_objects_of_a_size():
    proposals, boxes = [np.vstack((FIFTH, FAR))], [np.vstack((BOX, FAR))]
    assert recall(proposals, boxes, [2], [0.5], area=(0, 625)) == [[0.0]]      # BOX alone
    assert recall(proposals, boxes, [2], [0.5], area=(2500, 1e4)) == [[1.0]]   # FAR alone: 2500 pixels are just enough
    assert np.isnan(recall(proposals, boxes, [2], [0.5], area=(101, 2500))).all()


def test_the_table_has_a_row_for_each_count_and_size_and_the_average_recall():
    lines = recall_table([np.vstack((FIFTH, HALF)), FAR], [BOX, FAR], counts=[1, 2]).splitlines()
    assert lines[0] == '2 images, 2 objects, 1.5 proposals per image'
    assert lines[1].split() == ['proposals', 'IoU', '0.5', 'IoU', '0.6', 'IoU', '0.7', 'IoU', '0.8', 'IoU', '0.9', 'AR']
    # With one proposal FAR alone is found, at every IoU; with two BOX as well, at 0.5, one of the ten thresholds of AR.
    assert lines[2].split() == ['1', '0.500', '0.500', '0.500', '0.500', '0.500', '0.500']
    assert lines[3].split() == ['2', '1.000', '0.500', '0.500', '0.500', '0.500', '0.550']
    assert lines[4].split() == ['size', '0-25', '1.000', '0.000', '0.000', '0.000', '0.000', '0.100']
    assert lines[5].split() == ['size', '25-50'] + ['-'] * 6
