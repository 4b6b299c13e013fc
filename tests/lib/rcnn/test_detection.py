"""Detections of one image, seen once or several times."""
import math

import numpy as np
import pytest

from lib.rcnn.detection import detect, limit_detections, merge_views, per_class_nms

# The first two overlap by 100 / 140.
BOXES = np.array([[0, 0, 9, 9], [0, 0, 9, 13], [50, 50, 59, 59]], dtype=np.float64)


def detections(scores, boxes=None, **options):
    boxes = np.hstack((np.zeros_like(BOXES), BOXES)) if boxes is None else boxes
    settings = dict(thresh=0.05, nms_thresh=0.5, max_per_image=100, class_agnostic=True)
    settings.update(options)
    return per_class_nms(np.array(scores, dtype=np.float32), boxes, **settings)


def test_boxes_are_decoded_clipped_and_given_in_pixels_of_the_image():
    rois = np.array([[0, 0, 0, 9, 9], [0, 80, 40, 99, 49]], dtype=np.float32)
    deltas = np.array([[0] * 5 + [0.5, 0, 0], [0] * 4 + [0.5, 0, 0, 0]], dtype=np.float32)
    scores, boxes = detect(rois, np.full((2, 3), 0.3), deltas, im_shape=(50, 100), scale=2)
    np.testing.assert_array_equal(scores, np.full((2, 3), 0.3))
    # The first moves down by 5; the second right by 10, to 90..109, and is cut at 99.
    np.testing.assert_allclose(boxes[:, 4:], [[0, 5 / 2, 9 / 2, 14 / 2], [90 / 2, 40 / 2, 99 / 2, 49 / 2]])


def test_each_class_keeps_its_boxes_above_the_threshold_that_survive_suppression():
    background, first, second = detections([[0.1, 0.8, 0.1], [0.1, 0.6, 0.3], [0.1, 0.05, 0.85]])
    assert background.shape == (0, 5)
    np.testing.assert_allclose(first, [[0, 0, 9, 9, 0.8]], rtol=1e-6)
    np.testing.assert_allclose(second, [[50, 50, 59, 59, 0.85], [0, 0, 9, 13, 0.3]], rtol=1e-6)
    assert first.dtype == np.float64


def test_class_specific_boxes_are_those_of_their_class():
    boxes = np.hstack((BOXES * 0, BOXES, BOXES + 100))
    _, first, second = detections([[0, 0.8, 0.1]] + [[0, 0, 0]] * 2, boxes, class_agnostic=False)
    np.testing.assert_array_equal(first[:, :4], [[0, 0, 9, 9]])
    np.testing.assert_array_equal(second[:, :4], [[100, 100, 109, 109]])


def test_nothing_above_the_threshold_gives_no_detections():
    assert [dets.shape for dets in detections(np.zeros((3, 4)))] == [(0, 5)] * 4


def test_no_rois_give_no_detections():
    assert [dets.shape for dets in detections(np.zeros((0, 3)), np.zeros((0, 8)))] == [(0, 5)] * 3


@pytest.mark.parametrize('max_per_image,expected', [(1, [0, 1]), (2, [1, 1]), (0, [1, 2]), (3, [1, 2])])
def test_the_best_of_all_classes_are_kept(max_per_image, expected):
    scores = [[0.1, 0.8, 0.1], [0.1, 0.6, 0.3], [0.1, 0.05, 0.85]]
    assert [len(dets) for dets in detections(scores, max_per_image=max_per_image)[1:]] == expected


def test_detections_that_tie_with_the_last_one_stay():
    all_dets = [np.zeros((0, 5)), np.array([[0, 0, 1, 1, 0.5]] * 2), np.array([[0, 0, 1, 1, 0.5], [0, 0, 1, 1, 0.4]])]
    assert [len(dets) for dets in limit_detections(all_dets, 2)] == [0, 2, 1]


def test_soft_nms_keeps_overlapping_boxes_with_lower_scores():
    overlap = 100 / 140
    scores = [[0, 0.8], [0, 0.6], [0, 0.0]]
    _, gaussian = detections(scores, method='gaussian')
    _, linear = detections(scores, method='linear')
    np.testing.assert_allclose(gaussian[:, 4], [0.8, 0.6 * math.exp(-overlap ** 2 / 0.5)], rtol=1e-6)
    np.testing.assert_allclose(linear[:, 4], [0.8, 0.6 * (1 - overlap)], rtol=1e-6)


def test_soft_nms_drops_what_falls_below_the_threshold():
    _, linear = detections([[0, 0.8], [0, 0.6], [0, 0.0]], method='linear', thresh=0.2)     # 0.6 * 40 / 140 = 0.171
    np.testing.assert_allclose(linear[:, 4], [0.8], rtol=1e-6)


def test_voting_moves_the_kept_boxes():
    _, dets = detections([[0, 0.75], [0, 0.25], [0, 0.5]], vote_thresh=0.5)
    np.testing.assert_allclose(dets, [[0, 0, 9, 10, 0.75], [50, 50, 59, 59, 0.5]])          # y2 = 0.75 * 9 + 0.25 * 13


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match="not 'cubic'"):
        detections([[0, 0.8], [0, 0.6], [0, 0.0]], method='cubic')


@pytest.mark.parametrize('image', range(2))
@pytest.mark.parametrize('number', range(3))
def test_detections_equal_the_originals(golden_cases, number, image):
    vectors, cases = golden_cases('postprocess')
    case, key = cases[number], '%d_%d' % (number, image)
    scores, boxes = detect(vectors['rois_' + key], vectors['cls_prob_' + key][0], vectors['bbox_pred_' + key][0],
                           im_shape=vectors['data_shape_' + key][2:], scale=vectors['scale_' + key])
    if image == 0:
        np.testing.assert_array_equal(scores, vectors['im_detect_scores_%d' % number])
        np.testing.assert_allclose(boxes, vectors['im_detect_boxes_%d' % number], rtol=1e-5, atol=1e-4)
    dets = per_class_nms(scores, boxes, thresh=case['thresh'], nms_thresh=case['NMS'],
                         max_per_image=case['max_per_image'], class_agnostic=case['CLASS_AGNOSTIC'])
    rows = np.vstack([np.insert(of_class, 0, cls, axis=1) for cls, of_class in enumerate(dets)])
    np.testing.assert_allclose(rows, vectors['dets_' + key], rtol=1e-5, atol=1e-4)


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
