"""RoIs of a batch of images."""
import numpy as np
import pytest

from lib.rcnn.sample_rois import proposal_target

# Two images of two proposals each: one that lies apart, one that is an object.
ROIS = np.array([[0, 80, 80, 89, 89], [0, 0, 0, 9, 9], [1, 70, 70, 79, 79], [1, 50, 50, 59, 59]], dtype=np.float32)
GT_BOXES = np.array([[[0, 0, 9, 9, 3], [20, 20, 39, 39, 2]],
                     [[50, 50, 59, 59, 1], [0, 0, 0, 0, -1]]], dtype=np.float32)


def targets(rois=ROIS, gt_boxes=GT_BOXES, batch_rois=-1, **options):
    settings = dict(fg_fraction=0.25, num_classes=4, class_agnostic=True, rng=np.random.RandomState(0))
    settings.update(options)
    return proposal_target(rois, gt_boxes, batch_rois=batch_rois, **settings)


def test_the_objects_are_among_the_rois_and_keep_the_index_of_their_image():
    rois, labels, _, weights = targets()
    np.testing.assert_array_equal(rois, [[0, 0, 0, 9, 9], [0, 0, 0, 9, 9], [0, 20, 20, 39, 39], [0, 80, 80, 89, 89],
                                         [1, 50, 50, 59, 59], [1, 50, 50, 59, 59], [1, 70, 70, 79, 79],
                                         [1, 70, 70, 79, 79]])      # the last one again, for the missing object
    np.testing.assert_array_equal(labels, [3, 3, 2, 0, 1, 1, 0, -1])
    np.testing.assert_array_equal(weights[:, 4], [1, 1, 1, 0, 1, 1, 0, 0])


def test_the_number_of_rows_does_not_depend_on_the_number_of_objects():
    no_objects = np.full((2, 2, 5), -1, dtype=np.float32)
    rois, labels, box_targets, weights = targets(gt_boxes=no_objects)
    assert [len(array) for array in (rois, labels, box_targets, weights)] == [8] * 4
    np.testing.assert_array_equal(labels, [0, 0, -1, -1] * 2)
    np.testing.assert_array_equal(rois[:, 0], [0] * 4 + [1] * 4)
    assert not weights.any()


def test_a_batch_is_shared_out_equally_to_its_images():
    rois, labels, _, _ = targets(batch_rois=16, fg_fraction=0.25)
    np.testing.assert_array_equal(rois[:, 0], [0] * 8 + [1] * 8)
    # round(0.25 * 8) = 2 foreground in each; one RoI of each image is background; the rest is padding
    np.testing.assert_array_equal((labels.reshape(2, 8) > 0).sum(axis=1), [2, 2])
    np.testing.assert_array_equal((labels.reshape(2, 8) == 0).sum(axis=1), [1, 1])


def test_a_batch_that_cannot_be_shared_out_is_refused():
    with pytest.raises(ValueError, match='5 RoIs cannot be shared out equally to 2 images'):
        targets(batch_rois=5)


def test_images_are_sampled_one_after_the_other_from_one_source():
    both = targets(batch_rois=12, rng=np.random.RandomState(1))
    source = np.random.RandomState(1)
    alone = [targets(ROIS[:2], GT_BOXES[:1], batch_rois=6, rng=source),
             targets(ROIS[2:] - np.float32([1, 0, 0, 0, 0]), GT_BOXES[1:], batch_rois=6, rng=source)]
    np.testing.assert_array_equal(both[1], np.concatenate([labels for _, labels, _, _ in alone]))
    np.testing.assert_array_equal(both[0][:, 1:], np.concatenate([rois[:, 1:] for rois, _, _, _ in alone]))


@pytest.mark.parametrize('number', range(3))
def test_targets_equal_the_originals(golden_cases, same_draws, number):
    vectors, cases = golden_cases('proposal_target')
    case = cases[number]
    np.random.seed(case['npr_seed'])
    result = proposal_target(
        vectors['rois_%d' % number], vectors['gt_%d' % number][None], batch_rois=case['batch_rois'],
        fg_fraction=case['fg_fraction'], num_classes=case['num_classes'], class_agnostic=case['CLASS_AGNOSTIC'],
        pad_label=0, bbox_means=(0, 0, 0, 0), bbox_stds=(0.1, 0.1, 0.2, 0.2))
    same_draws(case)
    for array, name in zip(result, ('rois', 'label', 'bbox_target', 'bbox_weight')):
        np.testing.assert_allclose(array, vectors['out_%s_%d' % (name, number)], rtol=1e-5, atol=1e-6, err_msg=name)
