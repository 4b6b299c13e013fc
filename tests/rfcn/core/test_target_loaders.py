"""Batches of images with given RoIs."""
import numpy as np
import pytest

from lib.dataset import load_gt_roidb
from lib.errors import ConfigError
from lib.rcnn.sample_rois import add_roi_targets
from rfcn.core.target_loaders import RoiLoader, anchor_loader, check_anchors, feature_shape, roi_loader
from rfcn.symbols import make_symbol
from tests.rfcn.conftest import arrays_of

SAMPLING = dict(num_classes=3, class_agnostic=True)


@pytest.fixture
def roidb(tiny_voc):
    """The tiny data set with proposals: the objects moved by a pixel, and two corners that hit no object."""
    entries = load_gt_roidb('PascalVOC', 'train', str(tiny_voc), classes=['blue', 'red'])[0]
    for entry in entries:
        moved = entry['boxes'] + np.float32(1)
        corners = np.array([[0, 0, 3, 3], [entry['width'] - 4, 0, entry['width'] - 1, 3]], dtype=np.float32)
        entry['proposals'] = np.insert(np.vstack((moved, corners)), 4, 0.5, axis=1)
    return add_roi_targets(entries, bbox_means=(0,) * 4, bbox_stds=(1,) * 4, **SAMPLING)[0]


def make_loader(roidb, batch_size=2, rois_per_image=-1, **settings):
    return RoiLoader(roidb, batch_size, rois_per_image=rois_per_image, fg_fraction=0.25, sampling=SAMPLING,
                     scales=[(64, 96)], pixel_means=np.zeros(3), **settings)


def test_shapes_are_those_that_the_graph_takes_and_the_same_in_every_batch(roidb):
    batches = list(make_loader(roidb).batches())
    assert len(batches) == 3
    for batch in batches:  # at most two objects an image: themselves, moved, and two corners are six RoIs
        shapes = {name: value.shape for name, value in arrays_of(batch).items() if name != 'data'}
        assert shapes == {'rois': (2, 6, 5), 'label': (2, 6), 'bbox_target': (2, 6, 8), 'bbox_weight': (2, 6, 8)}
        assert [desc.name for desc in batch.provide_data] == ['data', 'rois']


def test_all_rois_come_foreground_first_and_the_rest_does_not_count(roidb):
    names = [entry['index'] for entry in roidb]
    first = arrays_of(next(make_loader(roidb, batch_size=6).batches()))
    # wide1: red (class 2) and blue (class 1), each with a proposal moved by one pixel; then the corners.
    np.testing.assert_array_equal(first['label'][names.index('wide1')], [2, 1, 2, 1, 0, 0])
    np.testing.assert_array_equal(first['label'][names.index('wide2')], [1, 1, 0, 0, -1, -1])
    np.testing.assert_array_equal(first['label'][names.index('empty')], [0, 0, -1, -1, -1, -1])
    weighted = first['bbox_weight'].any(axis=2)
    np.testing.assert_array_equal(weighted, first['label'] > 0)


def test_rois_are_scaled_with_their_image_and_not_rounded(roidb):
    # wide3 is 90 x 60 and becomes 96 x 64: a factor of 64 / 60. Its object is (32, 8, 71, 47).
    wide3 = [entry for entry in roidb if entry['index'] == 'wide3']
    rois = arrays_of(next(make_loader(wide3, batch_size=1).batches()))['rois']
    np.testing.assert_allclose(rois[0, 0], [0, 32 * 64 / 60, 8 * 64 / 60, 71 * 64 / 60, 47 * 64 / 60], rtol=1e-6)


def test_every_device_numbers_its_images_from_zero(roidb):
    step = next(make_loader(roidb, batch_size=2, devices=3).batches())
    assert [arrays_of(part)['rois'][:, 0, 0].tolist() for part in step.parts] == [[0, 1], [0, 1], [0, 1]]


def test_a_sample_has_the_given_number_of_rois_and_the_given_part_of_foreground(roidb):
    wide1 = [entry for entry in roidb if entry['index'] == 'wide1']
    label = arrays_of(next(make_loader(wide1, batch_size=1, rois_per_image=4).batches()))['label']
    # A quarter of 4 is one foreground RoI; both corners are background; the fourth place is padding.
    assert (label > 0).sum() == 1 and (label == 0).sum() == 2 and (label == -1).sum() == 1


def test_the_sample_depends_on_seed_and_epoch_alone(roidb):
    def rois(epoch, seed=0):
        return arrays_of(next(make_loader(roidb, rois_per_image=2, shuffle=True, seed=seed).batches(epoch)))['rois']
    np.testing.assert_array_equal(rois(0), rois(0))
    assert not np.array_equal(rois(0), rois(1)) and not np.array_equal(rois(0), rois(0, seed=1))


@pytest.mark.parametrize('symbol', ['small_rfcn', 'resnet_v1_18_rfcn'])
def test_the_cells_of_conv4_are_read_off_the_graph(tiny_cfg, symbol):
    shape = feature_shape(make_symbol(tiny_cfg('symbol=' + symbol)).get_symbol(is_train=True))
    assert shape(64, 96) == (4, 6) and shape(600, 1000) == (38, 63)
    rpn = make_symbol(tiny_cfg('symbol=' + symbol)).get_symbol_rpn(is_train=True)
    scores = rpn.get_internals()['rpn_bbox_pred_output']
    for height in range(33, 80, 7):
        assert shape(height, 96) == scores.infer_shape(data=(1, 3, height, 96))[1][0][2:]


@pytest.mark.parametrize('stride, least', [(16, 40), (32, 80)])
def test_anchors_none_of_which_lies_inside_an_image_are_refused_whatever_the_stride(tiny_cfg, stride, least):
    # Scale 2 at stride 16: 32 x 32, inside from 8 to 39 in the second cell; at stride 32: 64 x 64, from 16 to 79.
    def check(shorter):
        cfg = tiny_cfg('network.ANCHOR_SCALES=[2]', 'network.ANCHOR_RATIOS=[1]', 'SCALES=[[%d,200]]' % shorter,
                       'network.RPN_FEAT_STRIDE=%d' % stride)
        check_anchors(cfg, [{'width': 20, 'height': 20}])
    check(least)
    with pytest.raises(ConfigError, match='none of these anchors lies inside a training image'):
        check(least - 1)


def test_the_keys_of_the_configuration_reach_the_targets_of_anchors_and_of_given_rois(tiny_cfg, roidb):
    cfg = tiny_cfg('TRAIN.RPN_BATCH_SIZE=10', 'TRAIN.RPN_FG_FRACTION=0.4', 'TRAIN.RPN_POSITIVE_OVERLAP=0.6',
                   'TRAIN.RPN_NEGATIVE_OVERLAP=0.2', 'TRAIN.RPN_CLOBBER_POSITIVES=true',
                   'TRAIN.RPN_BBOX_WEIGHTS=[1, 2, 3, 4]', 'TRAIN.MAX_GT_BOXES=9', 'TRAIN.FG_FRACTION=0.15',
                   'TRAIN.FG_THRESH=0.45', 'TRAIN.BG_THRESH_HI=0.35', 'TRAIN.BG_THRESH_LO=0.05',
                   'TRAIN.BBOX_WEIGHTS=[5, 6, 7, 8]')
    anchors = anchor_loader(cfg, roidb, make_symbol(cfg).get_symbol_rpn(is_train=True))
    assert anchors.targets == dict(batch_size=10, fg_fraction=0.4, fg_thresh=0.6, bg_thresh=0.2, clobber_positives=True,
                                   bbox_weights=(1, 2, 3, 4), untouched_objects_match=False)
    rois = roi_loader(cfg, roidb)
    assert (anchors.max_gt_boxes, rois.fg_fraction) == (9, 0.15)
    assert rois.sampling == dict(fg_thresh=0.45, bg_thresh_hi=0.35, bg_thresh_lo=0.05, bbox_weights=(5, 6, 7, 8),
                                 num_classes=cfg.dataset.NUM_CLASSES, class_agnostic=cfg.CLASS_AGNOSTIC, pad_label=-1)


def test_the_keys_of_the_configuration_reach_the_images_and_their_order(tiny_cfg, roidb):
    cfg = tiny_cfg('SCALES=[[48, 80], [64, 96]]', 'network.PIXEL_MEANS=[1, 2, 3]', 'network.IMAGE_STRIDE=32', 'seed=7',
                   'TRAIN.SHUFFLE=false', 'TRAIN.ASPECT_GROUPING=false', 'TRAIN.WORKERS=0',
                   'dataset.on_bad_image=skip', 'dataset.MAX_PIXELS=9000')
    for loader in anchor_loader(cfg, roidb, make_symbol(cfg).get_symbol_rpn(is_train=True)), roi_loader(cfg, roidb):
        settings = dict(loader.image_settings, pixel_means=list(loader.image_settings['pixel_means']))
        assert settings == dict(stride=32, pixel_means=[1, 2, 3], max_pixels=9000)
        assert (loader.scales, loader.seed, loader.threads, loader.on_bad_image) == (((48, 80), (64, 96)), 7, 0, 'skip')
        assert not loader.aspect_grouping
        assert [entry['image'] for entry in roidb] == sum((batch.images for batch in loader.batches()), [])
