"""Lists of images with their objects."""
import numpy as np
import pytest

from lib.dataset.imdb import append_flipped_images, filter_roidb, flip_entry, make_entry
from lib.errors import DatasetError


def entry(boxes=((2, 3, 10, 20),), classes=None, width=40, height=30):
    return make_entry('a.jpg', 'a', height, width, boxes, [1] * len(boxes) if classes is None else classes)


def test_an_entry_has_the_types_that_all_others_rely_on():
    made = entry()
    assert made['boxes'].dtype == np.float32 and made['gt_classes'].dtype == np.int32 and not made['flipped']
    assert entry(())['boxes'].shape == (0, 4)


def test_mirror_images_follow_their_originals():
    first, second, mirrored, empty = append_flipped_images([entry(), entry(())])
    # x1 = 40 - 1 - 10 = 29, x2 = 40 - 1 - 2 = 37.
    np.testing.assert_array_equal(mirrored['boxes'], [[29, 3, 37, 20]])
    assert (first['flipped'], second['flipped'], mirrored['flipped'], empty['flipped']) == (False, False, True, True)
    np.testing.assert_array_equal(first['boxes'], [[2, 3, 10, 20]])
    assert mirrored['image'] == 'a.jpg' and len(empty['boxes']) == 0


def test_mirroring_twice_changes_nothing():
    original = dict(entry([(0, 0, 39, 29), (2.5, 3, 10, 20)]), proposals=np.float32([[1, 2, 3, 4, 0.9]]))
    twice = flip_entry(flip_entry(original))
    for key in original:
        np.testing.assert_array_equal(twice[key], original[key])


def test_proposals_are_mirrored_with_their_scores_kept():
    mirrored = flip_entry(dict(entry(), proposals=np.float32([[0, 2, 9, 4, 0.5]])))
    np.testing.assert_array_equal(mirrored['proposals'], [[30, 2, 39, 4, 0.5]])


@pytest.mark.parametrize('box', [(10, 3, 2, 20), (2, 20, 10, 3), (np.nan, 3, 10, 20)])
@pytest.mark.parametrize('operation', [append_flipped_images, filter_roidb])
def test_a_box_that_ends_before_it_begins_is_named_with_its_image(operation, box):
    with pytest.raises(DatasetError, match=r'a\.jpg: box 1 is \(x1, y1, x2, y2\) = \(%g, %g, %g, %g\)' % box):
        operation([entry([(2, 3, 10, 20), box])])


def test_a_box_that_begins_at_the_border_can_be_mirrored():
    np.testing.assert_array_equal(flip_entry(entry([(0, 0, 39, 29)]))['boxes'], [[0, 0, 39, 29]])


def test_images_without_objects_stay_unless_they_shall_go():
    roidb = [entry(), entry(())]
    assert len(filter_roidb(roidb)) == 2
    assert filter_roidb(roidb, keep_empty=False) == roidb[:1]


@pytest.mark.parametrize('roidb', [[], [entry(())]])
def test_a_list_without_any_image_to_train_on_is_refused(roidb):
    with pytest.raises(DatasetError, match='nothing to train on: of %d images none has an object' % len(roidb)):
        filter_roidb(roidb, keep_empty=False)
