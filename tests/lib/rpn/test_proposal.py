"""Proposals, and their recall."""
import math
import zlib

import numpy as np
import pytest

from lib.rpn.anchors import generate_anchors
from lib.rpn.proposal import best_overlaps, propose, recall, recall_table

BASE = np.array([[0, 0, 15, 15]], dtype=np.float32)


def propose_from(scores, deltas=None, im_info=(32, 32, 1), **options):
    """Proposals of one anchor of 16 x 16 pixels a cell, by default of four cells of 16 pixels."""
    scores = np.asarray(scores, dtype=np.float32).reshape(1, *np.shape(scores)[-2:])
    if deltas is None:
        deltas = np.zeros((4,) + scores.shape[1:], dtype=np.float32)
    return propose(scores, deltas, im_info, base_anchors=BASE, stride=16, **options)


def test_proposals_are_moved_anchors_by_decreasing_score():
    deltas = np.zeros((4, 2, 2), dtype=np.float32)
    deltas[:, 0, 0] = 0.25, 0, 0, math.log(0.5)          # 4 pixels to the right, half as high around y = 7.5
    rois, scores = propose_from([[0.9, 0.1], [0.3, 0.7]], deltas, post_nms_top_n=4)
    np.testing.assert_allclose(rois, [[4, 4, 19, 11], [16, 16, 31, 31], [0, 16, 15, 31], [16, 0, 31, 15]], atol=1e-5)
    np.testing.assert_array_equal(scores, np.float32([[0.9], [0.7], [0.3], [0.1]]))
    assert rois.dtype == scores.dtype == np.float32


def test_proposals_are_clipped_to_the_image_not_to_the_map():
    deltas = np.zeros((4, 2, 2), dtype=np.float32)
    deltas[2:] = math.log(4)                             # 64 x 64: from -24 to 39, and from -8 to 55
    rois, _ = propose_from([[0.9, 0.8], [0.7, 0.6]], deltas, im_info=(33, 37, 1), post_nms_top_n=1)
    np.testing.assert_array_equal(rois, [[0, 0, 36, 32]])


def test_cells_that_the_image_does_not_fill_are_not_used():
    rois, scores = propose_from([[0.1, 0.9], [0.8, 0.7]], im_info=(31, 31, 1), post_nms_top_n=2)
    np.testing.assert_array_equal(rois, [[0, 0, 15, 15]] * 2)
    np.testing.assert_array_equal(scores, np.float32([[0.1]] * 2))


def test_an_image_smaller_than_a_cell_has_a_proposal():
    rois, _ = propose_from([[0.1, 0.9], [0.8, 0.7]], im_info=(1, 1, 1), post_nms_top_n=2)
    np.testing.assert_array_equal(rois, [[0, 0, 0, 0]] * 2)


def test_too_small_boxes_are_dropped_in_pixels_of_the_unscaled_image():
    deltas = np.zeros((4, 2, 2), dtype=np.float32)
    deltas[2, 0, 0] = math.log(0.5)                      # 8 wide: 4 in an image scaled by 2
    options = dict(im_info=(32, 32, 2), post_nms_top_n=1)
    for min_size, expected in ((4, 0.9), (5, 0.7)):
        _, scores = propose_from([[0.9, 0.1], [0.3, 0.7]], deltas, min_size=min_size, **options)
        assert scores[0, 0] == np.float32(expected)


def test_without_a_least_size_the_proposals_are_those_of_a_least_size_that_all_boxes_have():
    rng = np.random.RandomState(3)
    scores, deltas = rng.permutation(9 * 20 * 30).reshape(9, 20, 30) / 5400, 0.3 * rng.randn(36, 20, 30)
    settings = dict(base_anchors=generate_anchors(16, (0.5, 1, 2), (8, 16, 32)), stride=16, pre_nms_top_n=500)
    found = [propose(scores.astype(np.float32), deltas.astype(np.float32), (320, 480, 1.0), min_size=size,
                     rng=np.random.RandomState(0), **settings) for size in (0, 1e-6)]
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])


def test_a_box_of_the_least_size_is_large_enough():
    rois, _ = propose_from([[0.9, 0.1], [0.3, 0.7]], min_size=16, post_nms_top_n=4)
    assert len(np.unique(rois, axis=0)) == 4


def test_where_all_boxes_are_too_small_the_best_one_is_proposed():
    rois, scores = propose_from([[0.2, 0.1], [0.3, 0.7]], min_size=17, post_nms_top_n=3)
    np.testing.assert_array_equal(rois, [[16, 16, 31, 31]] * 3)
    np.testing.assert_array_equal(scores, np.float32([[0.7]] * 3))


def test_boxes_that_overlap_a_better_one_are_no_proposals():
    deltas = np.zeros((4, 2, 2), dtype=np.float32)
    deltas[0, 0, 1] = -1                                 # onto the first
    _, scores = propose_from([[0.9, 0.8], [0.3, 0.1]], deltas, post_nms_top_n=3)
    np.testing.assert_array_equal(scores, np.float32([[0.9], [0.3], [0.1]]))


@pytest.mark.parametrize('pre_nms_top_n,survivors', [(1, 1), (3, 3), (0, 4), (-1, 4), (9, 4)])
def test_so_many_boxes_reach_the_suppression(pre_nms_top_n, survivors):
    _, scores = propose_from([[0.9, 0.8], [0.3, 0.1]], pre_nms_top_n=pre_nms_top_n, post_nms_top_n=50,
                             rng=np.random.RandomState(0))
    assert len(np.unique(scores)) == survivors


def test_missing_proposals_are_drawn_from_the_others():
    rois, scores = propose_from([[0.9, 0.8], [0.3, 0.1]], post_nms_top_n=9, rng=np.random.RandomState(5))
    drawn = np.random.RandomState(5).choice(4, size=5)
    np.testing.assert_array_equal(scores[4:], scores[:4][drawn])
    np.testing.assert_array_equal(rois[4:], rois[:4][drawn])


def test_huge_deltas_give_finite_boxes():
    rois, _ = propose_from([[0.9, 0.8], [0.3, 0.1]], np.full((4, 2, 2), 1e4, dtype=np.float32), post_nms_top_n=4)
    assert np.isfinite(rois).all() and (rois >= 0).all() and (rois <= 31).all()


def golden_inputs(case):
    """The scores and deltas that the README of the vectors describes."""
    num, height, width = case['A'], case['fh'], case['fw']
    random = np.random.RandomState(case['input_seed'])
    total = num * height * width
    scores = ((random.permutation(total) + 0.5) / total).astype('f').reshape(1, num, height, width)
    probabilities = np.concatenate((1 - scores, scores), axis=1).astype('f')
    deltas = (random.randn(1, 4 * num, height, width) * case['bbox_std']).astype('f')
    assert zlib.crc32(probabilities.tobytes()) == case['crc_cls_prob']
    assert zlib.crc32(deltas.tobytes()) == case['crc_bbox_pred']
    return probabilities[0, num:], deltas[0]


@pytest.mark.parametrize('number', range(5))
def test_proposals_equal_the_originals(golden_cases, same_draws, number):
    vectors, cases = golden_cases('proposal')
    case = cases[number]
    scores, deltas = golden_inputs(case)
    np.random.seed(case['npr_seed'])
    rois, scores = propose(
        scores, deltas, case['im_info'], base_anchors=generate_anchors(16, case['ratios'], case['scales']), stride=16,
        pre_nms_top_n=case['rpn_pre_nms_top_n'], post_nms_top_n=case['rpn_post_nms_top_n'],
        nms_thresh=case['threshold'], min_size=case['rpn_min_size'])
    same_draws(case)
    np.testing.assert_allclose(rois, vectors['py_rois_%d' % number][:, 1:], rtol=0, atol=0.01)
    np.testing.assert_allclose(scores, vectors['py_score_%d' % number], rtol=0, atol=2e-5)


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
