"""RELEASE_RULES: true follows the release where this project departs from it on purpose."""
import json

import mxnet as mx
import numpy as np
import pytest

from lib.dataset.proposals import save_proposals
from rfcn import data_sets
from rfcn.core.detect import View, choose_detections
from rfcn.core.target_loaders import anchor_loader, roi_loader
from rfcn.inference import nms_settings
from rfcn.propose import training_rois
from rfcn.symbols import make_symbol

PLAIN, RELEASE = (), ('RELEASE_RULES=true',)


def loader_of(cfg):
    symbol = make_symbol(cfg).get_symbol(is_train=True)
    return anchor_loader(cfg, data_sets.training_roidb(cfg), symbol)


def settings_of(cfg, operator, training=True):
    """The settings that an operator of a graph was given."""
    nodes = json.loads(make_symbol(cfg).get_symbol(is_train=training).tojson())['nodes']
    return next(json.loads(node['attrs']['settings']) for node in nodes
                if node.get('attrs', {}).get('op_type') == operator)


@pytest.mark.parametrize('overrides, images', [
    (PLAIN, 6), (RELEASE, 5), (('TRAIN.KEEP_EMPTY=false',), 5), (('TRAIN.KEEP_EMPTY=false', 'TRAIN.FLIP=true'), 10)])
def test_the_image_without_objects_is_left_out_by_the_release_or_if_asked(tiny_cfg, overrides, images):
    assert len(data_sets.training_roidb(tiny_cfg(*overrides))) == images


@pytest.mark.parametrize('overrides, images', [
    (PLAIN, 6), (('TRAIN.BG_THRESH_LO=0.1',), 6), (RELEASE, 6), (RELEASE + ('TRAIN.BG_THRESH_LO=0.1',), 5)])
def test_on_given_proposals_the_release_leaves_it_out_where_background_must_overlap_an_object(tiny_cfg, tmp_path,
                                                                                             overrides, images):
    cfg, path = tiny_cfg(*overrides), str(tmp_path / 'given.npz')
    names = data_sets.datasets(cfg, 'train')[0].image_set_index
    save_proposals(path, names, [np.array([[8, 8, 39, 39, 1]], dtype=np.float32)] * len(names))
    assert len(training_rois(cfg, [path])[0]) == images


def test_for_the_release_padding_is_background_and_the_growth_of_boxes_unlimited(tiny_cfg):
    assert settings_of(tiny_cfg(), 'proposal_target')['pad_label'] == -1
    assert settings_of(tiny_cfg(*RELEASE), 'proposal_target')['pad_label'] == 0
    for training in (True, False):
        assert settings_of(tiny_cfg(), 'proposal', training)['max_log_ratio'] == pytest.approx(np.log(1000 / 16))
        assert settings_of(tiny_cfg(*RELEASE), 'proposal', training)['max_log_ratio'] is None


def test_padding_of_given_proposals_is_background_too(tiny_cfg):
    roidb = [dict(data_sets.training_roidb(tiny_cfg())[0], rois=np.zeros((1, 4)))]
    assert [roi_loader(tiny_cfg(*rules), roidb).sampling['pad_label'] for rules in (PLAIN, RELEASE)] == [-1, 0]


def test_for_the_release_an_object_that_no_anchor_touches_matches_the_anchors_of_overlap_0(tiny_cfg):
    matched = [loader_of(tiny_cfg(*rules)).targets['untouched_objects_match'] for rules in (PLAIN, RELEASE)]
    assert matched == [False, True]


def test_the_release_does_not_shuffle_batches_that_come_out_even(tiny_cfg):
    even = 'dataset.image_set=val', 'TRAIN.FLIP=true'   # one landscape, one portrait, and their mirror images
    orders = {rules: {tuple(loader_of(tiny_cfg(*even, *rules)).order(epoch)[::2] % 2) for epoch in range(8)}
              for rules in (PLAIN, RELEASE)}
    assert orders == {RELEASE: {(0, 1)}, PLAIN: {(0, 1), (1, 0)}}


def test_the_release_sets_no_limit_to_the_growth_of_a_detection(tiny_cfg):
    # One RoI of 11 pixels whose width is to be e^5 = 148-fold: 62.5-fold at most, unless the release decides.
    outputs = {'rois': np.array([[0, 500, 10, 510, 20]]), 'cls_prob': np.array([[[0.0, 0.0, 1.0]]]),
               'bbox_pred': np.array([[[0, 0, 0, 0, 0, 0, 5, 0]]], dtype=float)}
    batch = mx.io.DataBatch([mx.nd.zeros((1, 3, 32, 3000)), mx.nd.array([[32, 3000, 1]])])
    widths = []
    for rules in (PLAIN, RELEASE):
        (_, _, found), = choose_detections([View(batch, 1, [None])], [outputs], **nms_settings(tiny_cfg(*rules)))
        widths.append(found[0, 2] - found[0, 0] + 1)
    assert widths == [pytest.approx(11 * 62.5, abs=0.01), pytest.approx(505 + np.exp(5) * 11 / 2 + 0.5, abs=0.1)]
