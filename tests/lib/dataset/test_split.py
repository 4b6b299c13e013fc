"""Splitting a data set: pictures that are nearly alike stay together, and every set has its share of each class."""
import cv2
import numpy as np
import pytest

from lib.dataset.split import alike_groups, fingerprint, split


@pytest.fixture
def picture():
    """A function seed -> a grey picture with soft structure."""
    return lambda seed: cv2.resize(np.random.RandomState(seed).randint(0, 255, (12, 16)).astype(np.uint8), (320, 240),
                                   interpolation=cv2.INTER_CUBIC)


def test_a_fingerprint_says_where_a_picture_gets_brighter():
    ramp = np.tile(np.linspace(0, 255, 90).astype(np.uint8), (80, 1))
    assert fingerprint(ramp) == 2 ** 64 - 1 and fingerprint(ramp[:, ::-1]) == 0
    half = np.vstack([ramp[:40], ramp[:40, ::-1]])
    assert fingerprint(half) == (2 ** 32 - 1) << 32


def test_a_picture_resized_or_encoded_anew_is_alike_and_another_is_not(picture):
    original = picture(0)
    encoded = cv2.imdecode(cv2.imencode('.jpg', original, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], cv2.IMREAD_GRAYSCALE)
    pictures = [original, picture(1), cv2.resize(original, (200, 150)), picture(2), encoded, original]
    assert alike_groups([fingerprint(one) for one in pictures]) == [[0, 2, 4, 5], [1], [3]]


def test_fingerprints_are_alike_up_to_three_bits_and_over_others():
    assert alike_groups([0, 0b111, 0b1111]) == [[0, 1, 2]]     # 0 and 0b1111 differ in four bits, but 0b111 joins them
    assert alike_groups([0, 0b1111]) == [[0], [1]]
    spread = 1 | 1 << 16 | 1 << 32      # in three of the four parts
    assert alike_groups([0, spread]) == [[0, 1]]
    assert alike_groups([0, spread | 1 << 48]) == [[0], [1]]
    assert alike_groups([]) == []


def test_each_set_gets_its_share_of_every_class_and_no_group_is_torn():
    rng = np.random.RandomState(0)
    labels = [np.array([0] * (i % 3) + [1] * (i % 2) + [2] * (i % 10 == 0), dtype=int) for i in range(300)]
    groups = [[i, i + 1] for i in range(0, 300, 2)]
    sets = split(groups, labels, (0.7, 0.15, 0.15), rng)
    assert sorted(sum(sets, [])) == list(range(300))
    for share, of_set in zip((0.7, 0.15, 0.15), sets):
        counts = np.bincount(np.concatenate([labels[i] for i in of_set]), minlength=3)
        assert np.allclose(counts / np.array([300, 150, 30]), share, atol=0.05)
        assert all((i ^ 1) in of_set for i in of_set)


def test_the_one_object_of_a_class_goes_where_most_is_lacking_and_pictures_without_objects_are_shared_out():
    labels = [np.array([0])] + [np.array([], dtype=int)] * 99
    sets = split([[i] for i in range(100)], labels, (0.8, 0.2), np.random.RandomState(0))
    assert 0 in sets[0] and (len(sets[0]), len(sets[1])) == (80, 20)


def test_groups_that_are_placed_stay_and_the_others_fill_up_what_their_sets_lack():
    labels = [np.array([0])] * 40
    placed = dict.fromkeys(range(10), 1)
    sets = split([[i] for i in range(40)], labels, (0.7, 0.3), np.random.RandomState(0), placed)
    assert [len(of_set) for of_set in sets] == [28, 12] and set(range(10)) <= set(sets[1])


@pytest.mark.parametrize('count, sizes', [(3, [1, 1, 1]), (8, [6, 1, 1]), (19, [15, 2, 2])])
def test_of_few_pictures_with_several_classes_each_most_are_trained_on(count, sizes):
    labels = [np.array([i % 3, (i + 1) % 3, i % 2]) for i in range(count)]
    sets = split([[i] for i in range(count)], labels, (0.7, 0.15, 0.15), np.random.RandomState(0))
    assert [len(of_set) for of_set in sets] == sizes and sorted(sum(sets, [])) == list(range(count))
