"""Testing at several scales and on mirror images."""
import numpy as np
import pytest

from rfcn import build
from rfcn.config.config import load_config
from rfcn.core.augment import detect_all_views
from rfcn.core.tester import detect_all
from rfcn.detector import Detector
from rfcn.evaluate import by_shape, detections, evaluate, nms_settings

VIEWS = ['TEST.SCALES=[[64, 96], [96, 144]]', 'TEST.FLIP=true']


@pytest.fixture
def trained(tiny_run):
    """A function (KEY=VALUE, ...) -> configuration, predictor, test set of the tiny network."""
    def make(*overrides):
        cfg = load_config(tiny_run / 'config.yaml', ['TEST.SCORE_THRESH=0.01'] + list(overrides))
        return cfg, build.predictor(cfg, str(tiny_run / 'tiny-0001.params')), build.datasets(cfg, 'test')[0]
    return make


def test_there_is_a_loader_for_each_scale_and_each_mirror_image(trained):
    cfg, _, imdb = trained(*VIEWS)
    loaders = build.view_loaders(cfg, imdb.gt_roidb())
    assert [(loader.scales[0], loader.roidb[0]['flipped']) for loader in loaders] == [
        ((64, 96), False), ((64, 96), True), ((96, 144), False), ((96, 144), True)]
    assert [loader.scales for loader in build.view_loaders(trained()[0], imdb.gt_roidb())] == [[(64, 96)]]


def test_one_view_gives_what_plain_testing_gives(trained):
    cfg, predictor, imdb = trained()
    loaders = build.view_loaders(cfg, imdb.gt_roidb())
    plain = detect_all(predictor, loaders[0], imdb.num_classes, **nms_settings(cfg))
    one = detect_all_views(predictor, loaders, imdb.num_classes, **nms_settings(cfg))
    for of_class, others in zip(plain, one):
        for dets, other in zip(of_class, others):
            np.testing.assert_array_equal(dets, other)


def test_a_view_that_is_given_twice_changes_nothing(trained):
    # The copies of a box suppress each other.
    cfg, predictor, imdb = trained()
    twice = trained('TEST.SCALES=[[64, 96], [64, 96]]')[0]
    for of_class, others in zip(*[detections(c, predictor, imdb.gt_roidb()) for c in (cfg, twice)]):
        for dets, other in zip(of_class, others):
            np.testing.assert_allclose(dets, other, rtol=1e-6)


def test_the_best_of_an_image_and_its_mirror_image_is_kept(trained):
    cfg, predictor, imdb = trained('TEST.FLIP=true')
    roidb = imdb.gt_roidb()
    roidb = [roidb[i] for i in by_shape(roidb)]  # the neighbours in a batch decide how much an image is padded
    plain = detections(trained()[0], predictor, roidb)
    mirrored = [dict(entry, flipped=True) for entry in roidb]
    loader = build.test_loader(cfg, mirrored)
    only_mirrored = detect_all_views(predictor, [loader], imdb.num_classes, **nms_settings(cfg))
    both = detections(cfg, predictor, roidb)
    for image, entry in enumerate(roidb):
        best = [max(of_class[image][:, 4].max(initial=0) for of_class in found[1:])
                for found in (plain, only_mirrored, both)]
        assert best[2] == pytest.approx(max(best[:2]), rel=1e-5)
        assert all(dets[image][:, 2].max(initial=0) < entry['width'] for dets in only_mirrored[1:])


def test_the_detector_and_the_test_of_a_data_set_agree_on_all_views(trained, tiny_run):
    cfg, predictor, imdb = trained(*VIEWS, 'TEST.NMS_METHOD=soft_linear', 'TEST.BOX_VOTING=true', 'TEST.BATCH_IMAGES=1')
    all_boxes = evaluate(cfg, predictor, imdb)[1]
    detector = Detector(cfg, tiny_run / 'tiny-0001.params')
    for number, index in enumerate(imdb.image_set_index):
        for found, of_class in zip(detector.detect_by_class(imdb.image_path(index))[1:], all_boxes[1:]):
            np.testing.assert_allclose(found, of_class[number], rtol=1e-4, atol=1e-3)


def test_the_last_incomplete_batch_counts_once(trained):
    cfg, predictor, imdb = trained(*VIEWS, 'TEST.BATCH_IMAGES=2')  # three images
    all_boxes = detections(cfg, predictor, imdb.gt_roidb())
    assert len(all_boxes[1]) == 3 and all(len(dets[2]) for dets in all_boxes[1:])


@pytest.mark.parametrize('overrides, settings', [
    ([], dict(method='nms', nms_thresh=0.3, vote_thresh=None)),
    (['TEST.NMS_METHOD=soft_linear', 'TEST.NMS=0.4'], dict(method='linear', nms_thresh=0.4, vote_thresh=None)),
    (['TEST.NMS_METHOD=soft_gaussian'], dict(method='gaussian', nms_thresh=0.5, vote_thresh=None)),
    (['TEST.BOX_VOTING=true', 'TEST.BOX_VOTING_THRESH=0.6'], dict(method='nms', nms_thresh=0.3, vote_thresh=0.6)),
])
def test_suppression_is_as_the_configuration_says(overrides, settings):
    found = nms_settings(load_config(None, overrides))
    assert {name: found[name] for name in settings} == settings


def test_soft_nms_and_voting_change_the_detections(trained):
    cfg, predictor, imdb = trained()
    plain = detections(cfg, predictor, imdb.gt_roidb())
    soft = detections(trained('TEST.NMS_METHOD=soft_gaussian')[0], predictor, imdb.gt_roidb())
    voted = detections(trained('TEST.BOX_VOTING=true')[0], predictor, imdb.gt_roidb())
    assert sum(len(dets) for dets in soft[1]) > sum(len(dets) for dets in plain[1])
    assert [dets[:, 4].tolist() for dets in voted[1]] == [dets[:, 4].tolist() for dets in plain[1]]
    assert any(not np.allclose(dets[:, :4], other[:, :4]) for dets, other in zip(voted[1], plain[1]))
