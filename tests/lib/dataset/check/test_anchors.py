"""How anchors fit objects, and which are suggested."""
import numpy as np
import pytest

from lib.dataset.check.anchors import Objects, better, fit_anchors, objects_at, sample, suggest
from lib.dataset.check.report import anchor_text
from lib.rpn.anchors import anchorless, generate_anchors

LARGE = 4096      # pixels: sides of an image that no anchor leaves
MIDDLE = 7.5 + 100 * 16


def objects_of(sides, offsets=0.0, weights=None, image=LARGE):
    """Objects of these sides (n, 2), at the centres of cells, in a large image, of one class unless said otherwise."""
    sides = np.array(sides, dtype=np.float64).reshape(-1, 2)
    weights = np.ones(len(sides)) if weights is None else np.array(weights, dtype=np.float64)
    return Objects(sides, np.full_like(sides, MIDDLE) + offsets, np.full_like(sides, image),
                   weights / max(weights.sum(), 1))


def test_the_fit_of_an_object_is_its_iou_with_the_best_anchor():
    # Scales 1 and 2 at ratio 1: anchors 16 x 16 and 32 x 32. 32 x 16 has IoU 256 / 512 with both; 8 x 8 has 64 / 256.
    fit = fit_anchors(objects_of([[16, 16], [32, 16], [8, 8], [64, 64]]), (1, 2), (1,))
    assert fit.overlaps.tolist() == [1, 0.5, 0.25, 0.25]
    assert (fit.mean, fit.share(0.5), fit.share(0.7)) == (0.5, 0.5, 0.25)
    assert fit.histogram().tolist() == [0, 0, 2, 0, 0, 1, 0, 0, 0, 1]


def test_an_object_between_the_cells_fits_less_and_a_small_one_may_miss_all_anchors():
    # 8 pixels from the next centre on one axis: 16 x 16 has 8 * 16 in common of 2 * 256 - 128, 8 x 8 only 4 * 8 of 288.
    sides, offsets = [[16, 16], [8, 8], [4, 4]], [[8, 0], [8, 0], [8, 8]]
    fit = fit_anchors(objects_of(sides, offsets), (1,), (1,))
    assert fit.overlaps.tolist() == [128 / 384, 32 / 288, 4 / 268]
    assert fit_anchors(objects_of([[4, 4]], 8.0), (0.5,), (1,)).mean == 0


def test_objects_are_taken_at_every_scale_of_the_network_and_every_class_weighs_the_same():
    # 40 x 30 to a shorter side of 60: twice; to 600, but at most 120 for the longer: three times. The box 1..10, 2..6
    # has its centre at (5.5, 4): (11, 8) and (16.5, 12).
    found = objects_at([[1, 2, 10, 6]], [0], [[40, 30]], [(60, 100), (600, 120)])
    assert found.sides.tolist() == [[20, 10], [30, 15]] and found.centres.tolist() == [[11, 8], [16.5, 12]]
    assert found.weights.tolist() == [0.5, 0.5] and found.images.tolist() == [[80, 60], [120, 90]]
    boxes = [[1, 2, 10, 6]] * 4 + [[0, 0, 15, 15]]
    assert objects_at(boxes, [0] * 4 + [1], [[40, 30]] * 5, [(30, 100)]).weights.tolist() == [0.125] * 4 + [0.5]
    assert objects_at([], [], [], [(30, 100)]).sides.shape == (0, 2)


def test_an_anchor_that_leaves_the_image_fits_nothing():
    # An anchor of 32 x 32 around the centre of a cell reaches from -8 to 23: it is inside from the second cell on. In
    # an image of 64 pixels its centres may be 23.5 and 39.5.
    corner, within = [7.5, 7.5], [23.5, 23.5]
    objects = Objects(np.full((2, 2), 32.0), np.array([corner, within]), np.full((2, 2), 64.0), np.full(2, 0.5))
    # 16 pixels apart on both axes: 16 x 16 in common of 2 x 1024 - 256.
    assert fit_anchors(objects, (2,), (1,)).overlaps.tolist() == [256 / 1792, 1]
    assert fit_anchors(objects, (8,), (1,)).overlaps.tolist() == [0, 0]     # 128 x 128 is never inside


def test_images_inside_which_no_anchor_lies_are_told():
    # 32 x 32 needs 40 pixels: from 8 to 39.
    larger, both = generate_anchors(16, (1,), (2,)), generate_anchors(16, (1,), (2, 1))
    assert anchorless(larger, [[40, 40], [39, 40], [40, 39], [400, 39]]).tolist() == [False, True, True, True]
    assert anchorless(both, [[39, 39]]).tolist() == [False]
    text = anchor_text(objects_of([[16, 16]]), fit_anchors(objects_of([[16, 16]]), (1,), (1,)), None, 3, 7)
    assert 'no anchor lies inside 3 of 7 images: they train nothing' in text


def test_a_larger_stride_has_larger_anchors_and_fewer_of_them():
    # Scale 1 at stride 32: 32 x 32, with centres at 15.5, 47.5 ... The object at 7.5 + 1600 = 1607.5 is 8 pixels from
    # the nearest centre, 15.5 + 50 * 32 = 1615.5, on both axes: 24 x 24 in common of 2 x 1024 - 576.
    objects = objects_of([[32, 32]])
    fit = fit_anchors(objects, (1,), (1,), 32)
    assert fit.overlaps.tolist() == [576 / 1472] and fit.stride == 32
    assert suggest(objects, 1, 1, 32).scales == (1,) and suggest(objects, 1, 1).scales == (2,)
    assert better(fit_anchors(objects, (4,), (1,), 32), objects) == fit
    assert 'thinner than 32 pixels, a cell of the feature map: 0.0 %' in anchor_text(objects, fit, None)
    # 64 x 64 around 15.5 is inside from the second cell on, from 16 to 79.
    assert anchorless(generate_anchors(32, (1,), (2,)), [[80, 80], [79, 80]], 32).tolist() == [False, True]


def test_of_very_many_objects_some_are_taken_from_all_over():
    assert sample(np.arange(5)).tolist() == [0, 1, 2, 3, 4]
    taken = sample(np.arange(10 ** 6))
    assert len(taken) == 20000 and (taken[0], taken[-1]) == (0, 999999) and (np.diff(taken) > 0).all()


def test_sizes_and_shapes_of_two_kinds_are_suggested_as_they_are():
    objects = objects_of([[40, 20], [20, 40]] * 10 + [[160, 80], [80, 160]] * 10)
    # Sides of the squares: sqrt(800) = 28.3 = 1.8 x 16 and 113 = 7.1 x 16.
    fit = suggest(objects, 2, 2)
    assert fit.scales == (1.8, 7.1) and fit.ratios == (0.5, 2) and fit.mean > 0.9
    assert better(fit, objects) is None
    assert better(fit_anchors(objects, (8, 16), (1, 3)), objects).mean > 0.9


def test_values_that_are_nearly_equal_are_suggested_once():
    assert suggest(objects_of(np.full((9, 2), 32) + np.arange(9)[:, None] * 0.1), 3, 3).ratios == (1,)


def test_a_rare_class_has_its_say_in_the_suggestion():
    # 90 objects of a class with sides 32 to 40, ten of another with 160: one of two scales is the rare class's.
    sides = [[side, side] for side in np.linspace(32, 40, 90)] + [[160, 160]] * 10
    assert suggest(objects_of(sides, weights=[1] * 90 + [9] * 10), 2, 1).scales == (2.2, 10)


def test_no_anchors_below_half_a_cell_are_suggested_but_larger_images():
    # Sides of 4 pixels: four times as large for 16.
    objects = objects_of(np.full((9, 2), 4.0))
    assert suggest(objects, 3, 1).scales == (0.5,)
    text = anchor_text(objects, fit_anchors(objects, (1,), (1,)), None)
    assert 'thinner than 16 pixels, a cell of the feature map: 100.0 %' in text
    assert 'SCALES 4 times as large would leave 10 % of the objects so thin' in text
    objects = objects_of(np.tile([4096, 0.01], (9, 1)))
    text = anchor_text(objects, fit_anchors(objects, (1,), (1,)), None)
    assert 'SCALES 1600 times as large' in text and 'e+' not in text
    objects = objects_of([[16, 16]] * 19 + [[4, 4]])
    assert 'SCALES' not in anchor_text(objects, fit_anchors(objects, (1,), (1,)), None).replace('ANCHOR_SCALES', '')


def test_without_objects_nothing_is_suggested():
    objects = objects_of([])
    fit = fit_anchors(objects, (8,), (1,))
    assert fit.mean == fit.share(0.5) == 0 and better(fit, objects) is None
    assert anchor_text(objects, fit, None) == 'no objects to compare the anchors with'


def test_the_text_gives_the_keys_as_the_command_line_takes_them():
    objects = objects_of([[16, 16], [32, 16]])
    text = anchor_text(objects, fit_anchors(objects, (1, 2.5), (0.5, 1)), fit_anchors(objects, (1,), (1,)))
    assert 'network.ANCHOR_SCALES=[1,2.5] network.ANCHOR_RATIOS=[0.5,1]' in text
    assert 'these would fit better: network.ANCHOR_SCALES=[1] network.ANCHOR_RATIOS=[1]\n' in text
    assert 'mean of the classes 0.750; 0.7 reached by 50.0 %, 0.5 by 100.0 %; below 0.3: 0.0 %' in text


@pytest.mark.parametrize('seed', range(5))
def test_the_suggestion_fits_better_than_the_defaults(seed):
    rng = np.random.RandomState(seed)
    objects = objects_of(rng.lognormal(3.5, 0.4, (200, 2)), rng.uniform(0, 8, (200, 2)))
    fit = fit_anchors(objects, (8, 16, 32), (0.5, 1, 2))
    assert better(fit, objects).mean > fit.mean + 0.1
