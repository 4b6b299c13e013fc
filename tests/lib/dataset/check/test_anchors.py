"""How anchors fit objects, and which are suggested."""
import numpy as np
import pytest

from lib.dataset.annotated import Item, Picture
from lib.dataset.check.anchors import better, fit_anchors, network_sides, suggest
from lib.dataset.check.text import anchor_text


def test_the_fit_of_an_object_is_its_iou_with_the_best_anchor_of_the_same_centre():
    # Scales 1 and 2 at ratio 1: anchors 16 x 16 and 32 x 32. 32 x 16 has IoU 256 / 512 with both; 8 x 8 has 64 / 256.
    fit = fit_anchors(np.array([[16., 16.], [32., 16.], [8., 8.], [64., 64.]]), (1, 2), (1,))
    assert fit.overlaps.tolist() == [1, 0.5, 0.25, 0.25]
    assert (fit.mean, fit.share(0.5), fit.share(0.7)) == (0.5, 0.5, 0.25)
    assert fit.histogram().tolist() == [0, 0, 2, 0, 0, 1, 0, 0, 0, 1]


def test_sides_are_taken_at_every_scale_of_the_network():
    # 40 x 30 to a shorter side of 60: twice; to 600, but at most 120 for the longer: three times.
    pairs = [(Picture('a', 'a', 'a', '', (40, 30), []), Item(0, 'cat', (1, 2, 10, 6)))]
    assert network_sides(pairs, [(60, 100), (600, 120)]).tolist() == [[20, 10], [30, 15]]


def test_sizes_and_shapes_of_two_kinds_are_suggested_as_they_are():
    sides = np.array([[40., 20.], [20., 40.]] * 10 + [[160., 80.], [80., 160.]] * 10)
    # Sides of the squares: sqrt(800) = 28.3 = 1.8 x 16 and 113 = 7.1 x 16.
    fit = suggest(sides, 2, 2)
    assert fit.scales == (1.8, 7.1) and fit.ratios == (0.5, 2) and fit.mean > 0.9
    assert better(fit, sides) is None
    assert better(fit_anchors(sides, (8, 16), (1, 3)), sides).mean > 0.9


def test_values_that_are_nearly_equal_are_suggested_once():
    assert suggest(np.full((9, 2), 32.) + np.arange(9)[:, None] * 0.1, 3, 3).ratios == (1,)


def test_without_objects_nothing_is_suggested():
    sides = np.zeros((0, 2))
    fit = fit_anchors(sides, (8,), (1,))
    assert fit.mean == fit.share(0.5) == 0 and better(fit, sides) is None
    assert anchor_text(sides, fit, None) == 'no objects to compare the anchors with'


def test_the_text_gives_the_keys_as_the_command_line_takes_them():
    sides = np.array([[16., 16.], [32., 16.]])
    text = anchor_text(sides, fit_anchors(sides, (1, 2.5), (0.5, 1)), fit_anchors(sides, (1,), (1,)))
    assert 'network.ANCHOR_SCALES=[1,2.5] network.ANCHOR_RATIOS=[0.5,1]' in text
    assert 'these would fit better: network.ANCHOR_SCALES=[1] network.ANCHOR_RATIOS=[1]\n' in text
    assert 'mean 0.750; 0.7 reached by 50.0 %, 0.5 by 100.0 %; below 0.3: 0.0 %' in text


@pytest.mark.parametrize('seed', range(5))
def test_the_suggestion_fits_better_than_the_defaults(seed):
    sides = np.random.RandomState(seed).lognormal(3.5, 0.4, (200, 2))
    fit = fit_anchors(sides, (8, 16, 32), (0.5, 1, 2))
    assert better(fit, sides).mean > fit.mean + 0.1
