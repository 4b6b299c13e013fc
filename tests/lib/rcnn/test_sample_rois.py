"""Sampling of RoIs and their targets."""
import numpy as np
import pytest

from lib.rcnn.sample_rois import add_roi_targets, pad_sample, sample_labelled_rois, sample_rois

OBJECTS = np.array([[0, 0, 9, 9, 3], [50, 50, 59, 59, 1]], dtype=np.float32)
ROIS = np.array([[0, 0, 0, 9, 19],          # 100 / 200 with the first object
                 [0, 80, 80, 89, 89],       # with none
                 [0, 50, 50, 59, 59],       # the second object
                 [0, 0, 5, 9, 24]],         # 50 / 250 with the first
                dtype=np.float32)
NO_OBJECT = np.zeros((0, 5), dtype=np.float32)
# The object is 20 x 20 at the origin; the first proposal is moved right by 5: IoU 15 * 20 / (2 * 400 - 300) = 0.6.
OBJECT, MOVED, FAR = [0, 0, 19, 19], [5, 0, 24, 19], [60, 60, 79, 79]
AS_THEY_ARE = dict(bbox_means=(0,) * 4, bbox_stds=(1,) * 4)


def sample(rois=ROIS, gt_boxes=OBJECTS, fg=4, num=4, **options):
    settings = dict(num_classes=4, class_agnostic=True, rng=np.random.RandomState(0))
    settings.update(options)
    return sample_rois(rois, gt_boxes, fg_rois_per_image=fg, rois_per_image=num, **settings)


def test_foreground_comes_first_and_has_the_class_of_its_object():
    rois, labels, targets, weights = sample()
    np.testing.assert_array_equal(rois, ROIS[[0, 2, 1, 3]])
    np.testing.assert_array_equal(labels, [3, 1, 0, 0])
    # From 10 x 20 around (4.5, 9.5) to 10 x 10 around (4.5, 4.5): dy = -5 / 20, dh = log(1 / 2)
    np.testing.assert_allclose(targets, [[0] * 5 + [-0.25, 0, np.log(0.5)]] + [[0] * 8] * 3, rtol=1e-6)
    np.testing.assert_array_equal(weights, [[0] * 4 + [1] * 4] * 2 + [[0] * 8] * 2)
    assert all(array.dtype == np.float32 for array in (rois, labels, targets, weights))


@pytest.mark.filterwarnings('error')
def test_a_background_roi_of_no_width_is_nobodys_concern():
    thin = np.array([[0, 80, 80, 79, 79]], dtype=np.float32)     # widths and heights are x2 - x1 + 1
    _, labels, targets, weights = sample(np.vstack((ROIS, thin)), num=5)
    np.testing.assert_array_equal(labels, [3, 1, 0, 0, 0])
    assert np.isfinite(targets).all() and not targets[2:].any() and not weights[2:].any()


def test_class_specific_targets_stand_in_the_place_of_their_class():
    _, _, targets, weights = sample(class_agnostic=False, bbox_weights=(1, 2, 3, 4))
    assert targets.shape == weights.shape == (4, 16)
    np.testing.assert_array_equal(weights[0], [0] * 12 + [1, 2, 3, 4])
    np.testing.assert_allclose(targets[0, 12:], [0, -0.25, 0, np.log(0.5)], rtol=1e-6)


def test_targets_are_normalised_by_the_given_mean_and_deviation():
    _, _, targets, _ = sample(bbox_means=(0, 0.75, 0, 0), bbox_stds=(0.1, 0.1, 0.2, 0.2))
    np.testing.assert_allclose(targets[0, 4:], [0, (-0.25 - 0.75) / 0.1, 0, np.log(0.5) / 0.2], rtol=1e-5)


def test_surplus_rois_are_dropped_at_random():
    draws = np.random.RandomState(0)
    foreground, background = draws.choice([0, 2], size=1, replace=False), draws.choice([1, 3], size=1, replace=False)
    rois, labels, _, _ = sample(fg=1, num=2)
    np.testing.assert_array_equal(rois, ROIS[[foreground[0], background[0]]])
    assert labels[0] > 0 and labels[1] == 0


def test_padding_is_ignored_even_where_it_repeats_foreground():
    rois, labels, _, weights = sample(num=10)
    assert rois.shape == (10, 5) and {tuple(roi) for roi in rois[4:]} == {tuple(roi) for roi in ROIS}
    np.testing.assert_array_equal(labels[4:], [-1] * 6)
    assert not weights[4:].any()


def test_the_releases_label_of_padding_can_be_had():
    np.testing.assert_array_equal(sample(num=10, pad_label=0)[1][4:], [0] * 6)


def test_rois_between_the_thresholds_are_not_used():
    rois, labels, _, _ = sample(num=3, bg_thresh_lo=0.1)        # the second RoI overlaps nothing: too easy
    np.testing.assert_array_equal(rois, ROIS[[0, 2, 3]])
    np.testing.assert_array_equal(labels, [3, 1, 0])


@pytest.mark.parametrize('bg_thresh_lo', [0, 0.1])
def test_without_objects_every_roi_is_background(bg_thresh_lo):
    rois, labels, targets, weights = sample(gt_boxes=NO_OBJECT, bg_thresh_lo=bg_thresh_lo)
    np.testing.assert_array_equal(rois, ROIS)
    np.testing.assert_array_equal(labels, [0] * 4)
    assert targets.shape == (4, 8) and not targets.any() and not weights.any()


def test_there_must_be_a_roi():
    with pytest.raises(ValueError, match='there is no RoI to choose 4 from'):
        sample(rois=np.zeros((0, 5), dtype=np.float32))


def test_labels_and_targets_computed_ahead_are_passed_on():
    labels, overlaps = np.array([3, 0, 1, 3]), np.array([0.5, 0, 1, 0.2])
    data = np.array([[3, 1, 2, 3, 4], [0] * 5, [1, 5, 6, 7, 8], [0] * 5])
    rois, labels, targets, weights = sample_labelled_rois(
        ROIS, labels, overlaps, data, fg_rois_per_image=4, rois_per_image=6, num_classes=4, class_agnostic=True,
        rng=np.random.RandomState(0))
    np.testing.assert_array_equal(rois[:4], ROIS[[0, 2, 1, 3]])
    np.testing.assert_array_equal(labels, [3, 1, 0, 0, -1, -1])
    np.testing.assert_array_equal(targets[:2, 4:], [[1, 2, 3, 4], [5, 6, 7, 8]])
    np.testing.assert_array_equal(weights[:, 4], [1, 1, 0, 0, 0, 0])


@pytest.mark.parametrize('gt_boxes, overlaps, labels', [
    pytest.param(OBJECTS, np.array([0.5, 0, 1, 0.2]), np.array([3, 0, 1, 3]), id='objects'),
    pytest.param(NO_OBJECT, np.zeros(4), np.zeros(4, dtype=int), id='no object')])
@pytest.mark.parametrize('bg_thresh_lo', [0, 0.1])
def test_both_ways_of_labelling_choose_the_same_rois(gt_boxes, overlaps, labels, bg_thresh_lo):
    options = dict(fg_rois_per_image=1, rois_per_image=9, num_classes=4, class_agnostic=True, bg_thresh_lo=bg_thresh_lo)
    ahead = sample_labelled_rois(ROIS, labels, overlaps, np.zeros((4, 5)), rng=np.random.RandomState(7), **options)
    now = sample_rois(ROIS, gt_boxes, rng=np.random.RandomState(7), **options)
    np.testing.assert_array_equal(ahead[0], now[0])
    np.testing.assert_array_equal(ahead[1], now[1])


@pytest.mark.parametrize('number', range(6))
def test_samples_equal_the_originals(golden_cases, same_draws, number):
    vectors, cases = golden_cases('sample_rois')
    case = cases[number]
    normalised = case['BBOX_NORMALIZATION_PRECOMPUTED']
    np.random.seed(case['seed'])
    result = sample_rois(
        vectors['rois_%d' % number], vectors['gt_%d' % number], fg_rois_per_image=case['fg_rois_per_image'],
        rois_per_image=case['rois_per_image'], num_classes=case['num_classes'], class_agnostic=case['CLASS_AGNOSTIC'],
        fg_thresh=case['FG_THRESH'], bg_thresh_hi=case['BG_THRESH_HI'], bg_thresh_lo=case['BG_THRESH_LO'],
        bbox_means=case['BBOX_MEANS'] if normalised else None, bbox_stds=case['BBOX_STDS'] if normalised else None,
        bbox_weights=case['BBOX_WEIGHTS'], pad_label=0)
    same_draws(case)
    for array, name in zip(result, ('rois', 'labels', 'bbox_targets', 'bbox_weights')):
        np.testing.assert_allclose(array, vectors['out_%s_%d' % (name, number)], rtol=1e-5, atol=1e-6, err_msg=name)


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


def test_proposals_may_lie_in_memory_column_by_column_as_those_of_matlab():
    given = entry(proposals=np.asfortranarray(entry()['proposals']))    # beside one object the RoIs lie so, too
    (made,), _, _ = add_roi_targets([given], num_classes=3, class_agnostic=True, **AS_THEY_ARE)
    np.testing.assert_allclose(made['max_overlaps'], [1, 0.6, 0], rtol=1e-6)


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


def test_padding_repeats_the_last_roi_without_label_and_weight():
    one, ones = np.array([[0, 1, 2, 3, 4]], dtype=np.float32), np.ones((1, 8), dtype=np.float32)
    rois, label, target, weight = pad_sample(one, np.array([5], dtype=np.float32), ones, ones, rows=3)
    np.testing.assert_array_equal(rois, [[0, 1, 2, 3, 4]] * 3)
    np.testing.assert_array_equal(label, [5, -1, -1])
    np.testing.assert_array_equal(target[1:], 0)
    np.testing.assert_array_equal(weight[1:], 0)
    assert {x.dtype for x in (rois, label, target, weight)} == {np.dtype(np.float32)}
