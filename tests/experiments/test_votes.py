"""Studies of votes."""
import json

import numpy as np
import pytest

from experiments import votes
from lib.errors import UserError
from rfcn import data_sets
from rfcn.detector import Detector
from rfcn.explaining.decision import explain


@pytest.fixture
def detector(tiny_run):
    return Detector(tiny_run / 'config.yaml', tiny_run / 'tiny-0001.params')


def test_a_shift_of_nothing_is_the_true_box_and_shifts_out_of_the_image_are_left_out(detector):
    roidb = data_sets.datasets(detector.cfg, 'test')[0].gt_roidb()[:1]  # wide1, 96 pixels wide: (8 .. 39), (48 .. 87)
    scores, probabilities = votes.shifted_scores(detector, roidb)
    assert scores.shape == probabilities.shape == (2, 21)
    explanation = explain(detector, roidb[0]['image'], roidb[0]['boxes'][0], 'red')
    assert probabilities[0, 10] == pytest.approx(explanation.votes[0].cls_prob[2], abs=1e-5)
    assert scores[0, 10] == pytest.approx(explanation.votes[0].cls_score[2], abs=1e-4)
    # 32 wide from 8: to the left by a quarter at most; 40 wide up to 87: to the right by a fifth at most.
    assert np.isnan(scores[0, :8]).all() and not np.isnan(scores[0, 8:]).any()
    assert np.isnan(scores[1, 13:]).all() and not np.isnan(scores[1, :13]).any()


def test_a_mean_map_gives_all_bins_the_same_map_and_leaves_the_boxes_alone(detector, tiny_voc, tmp_path):
    image, box = str(tiny_voc / 'JPEGImages' / 'wide1.jpg'), [8, 8, 39, 39]
    flat = explain(votes.without_positions(detector, tmp_path / 'mean.params'), image, box, 'red')
    before = explain(detector, image, box, 'red')
    np.testing.assert_allclose(flat.maps, np.broadcast_to(before.maps.mean(axis=(0, 1)), flat.maps.shape), atol=1e-4)
    np.testing.assert_allclose(flat.votes[0].refined, before.votes[0].refined, atol=1e-3)


def test_a_curve_falls_to_half_where_a_straight_line_between_its_points_does():
    curve = np.concatenate((np.zeros(10), [1.0, 0.9, 0.7, 0.3], np.zeros(7)))
    assert votes.half_width(curve) == pytest.approx(0.25)
    assert np.isnan(votes.half_width(np.ones(21)))


def test_the_studies_run_and_are_drawn(tiny_run, tmp_path):
    run = str(tiny_run)
    votes.main(['--k3', run, '--k1', run, '--k7', run, '--no_ohem', run, '--images', '2', '--out', str(tmp_path)])
    results = json.loads((tmp_path / 'votes.json').read_text())
    assert set(results['shift']) == {'k = 1', 'k = 1, mean map', 'k = 3', 'k = 3, mean map', 'k = 7', 'k = 7, mean map'}
    assert (tmp_path / 'votes.png').stat().st_size > 10000
    told = results['ohem'][votes.HARDEST]
    assert told['foreground RoIs'] == len(told['losses, foreground']) > 0
    assert 0 < told['share of the loss that the 64 hardest hold'] <= 1


def test_a_folder_without_a_checkpoint_is_told(tmp_path):
    with pytest.raises(UserError, match='expected the folder of a training, found no checkpoint'):
        votes.last(tmp_path)
