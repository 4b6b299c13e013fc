"""The loop from images to detections: of one view and of several, of a data set and of a Detector."""
import pickle

import mxnet as mx
import numpy as np
import pytest

from lib.dataset import make_dataset
from lib.errors import DatasetError
from lib.utils.safe_load import load_pickle
from rfcn import data_sets, inference
from rfcn.config.config import load_config
from rfcn.core.detect import Predictor, View, choose_detections, detect_all, save_detections
from rfcn.core.image_loaders import ImageLoader, image_loader, largest_first
from rfcn.detector import Detector
from rfcn.evaluate import detections, evaluate
from rfcn.inference import nms_settings

SETTINGS = dict(thresh=0.05, nms_thresh=0.3, max_per_image=10, class_agnostic=True)
VIEWS = ['TEST.SCALES=[[64, 96], [96, 144]]', 'TEST.FLIP=true']


def chosen(outputs, im_info, images):
    """The detections of the first `images` of a batch of one view."""
    batch = mx.io.DataBatch(data=[None, mx.nd.array(im_info)])
    return choose_detections([View(batch, images, [None] * images)], [outputs], **SETTINGS)


def outputs_for(rois, probabilities):
    """Of `Predictor.predict`, for boxes that need no correction: (B, R, 4) and (B, R, C)."""
    rois, probabilities = np.asarray(rois, dtype=np.float32), np.asarray(probabilities, dtype=np.float32)
    images, count = rois.shape[:2]
    numbers = np.repeat(np.arange(images), count).reshape(images, count, 1)
    return {'rois': np.concatenate((numbers, rois), axis=2).reshape(-1, 5), 'cls_prob': probabilities,
            'bbox_pred': np.zeros((images, count, 8), dtype=np.float32)}


def test_detections_are_in_the_pixels_of_the_original_image():
    outputs = outputs_for([[[0, 0, 19, 9], [40, 40, 59, 59]]], [[[0.1, 0.9, 0.0], [0.2, 0.0, 0.8]]])
    background, first, second = chosen(outputs, [[60, 60, 2.0]], 1)[0]
    assert len(background) == 0
    np.testing.assert_allclose(first, [[0, 0, 9.5, 4.5, 0.9]], atol=1e-6)
    np.testing.assert_allclose(second, [[20, 20, 29.5, 29.5, 0.8]], atol=1e-6)


def test_boxes_are_clipped_to_the_image_without_its_padding():
    outputs = outputs_for([[[0, 0, 99, 99]]], [[[0, 1]]])
    found = chosen(outputs, [[40, 60, 1.0]], 1)[0][1]
    np.testing.assert_allclose(found, [[0, 0, 59, 39, 1]])


def test_images_that_only_fill_a_batch_up_do_not_count():
    outputs = outputs_for([[[0, 0, 9, 9]], [[0, 0, 5, 5]]], [[[0, 1]], [[0, 1]]])
    (_, found), = chosen(outputs, [[60, 60, 1], [60, 60, 1]], 1)
    np.testing.assert_array_equal(found, [[0, 0, 9, 9, 1]])


class FakePredictor:
    """Finds in every image one box as large as the image, with a score that tells its size."""

    devices = 1

    def predict_each(self, batches):
        """See `Predictor.predict_each`."""
        return [self.predict(batch) for batch in batches]

    def predict(self, batch):
        """See `Predictor.predict`."""
        im_info = batch.data[1].asnumpy()
        rois = [[[0, 0, width - 1, height - 1]] for height, width, _ in im_info]
        return outputs_for(rois, [[[0, 0.5, 0.001 * width]] for _, width, _ in im_info])


def loader_of(roidb, batch_size=4, **settings):
    return ImageLoader(roidb, batch_size, scales=((64, 96),), pixel_means=np.zeros(3), **settings)


def test_every_image_gets_its_own_detections_once(roidb):
    all_boxes = detect_all(FakePredictor(), [loader_of(roidb)], 3, **SETTINGS)
    assert [len(of_class) for of_class in all_boxes] == [6, 6, 6] and not any(len(boxes) for boxes in all_boxes[0])
    sizes = [(entry['width'], entry['height']) for entry in roidb]
    for class_number in 1, 2:
        found = [tuple(np.round(boxes[0, 2:4] + 1)) for boxes in all_boxes[class_number]]
        np.testing.assert_allclose(found, sizes, atol=1)


def test_the_detections_do_not_depend_on_the_number_of_devices(tiny_run, tiny_params):
    cfg = load_config(str(tiny_run / 'config.yaml'), ['TEST.BATCH_IMAGES=1'])
    one = inference.predictor(cfg, tiny_params)
    three = Predictor(one.symbol, one.data_names, [mx.cpu(i) for i in range(3)], *one.params)
    roidb = data_sets.datasets(cfg, 'train')[0].gt_roidb()  # landscapes, portraits and a square: other shapes on each
    expected, found = (detect_all(predictor, [image_loader(cfg, roidb)], 3, **SETTINGS)
                       for predictor in (one, three))
    assert sum(len(boxes) for boxes in expected[1] + expected[2]) > 0
    for of_class, others in zip(expected, found):
        for boxes, other in zip(of_class, others):
            np.testing.assert_allclose(boxes, other, rtol=1e-5, atol=1e-5)


def test_an_image_that_cannot_be_read_has_no_detections(roidb, tmp_path):
    roidb[1] = dict(roidb[1], image=str(tmp_path / 'gone.jpg'))
    all_boxes = detect_all(FakePredictor(), [loader_of(roidb, on_bad_image='skip')], 3, **SETTINGS)
    assert [len(boxes) for boxes in all_boxes[1]] == [1, 0, 1, 1, 1, 1]
    with pytest.raises(FileNotFoundError, match='gone.jpg'):
        detect_all(FakePredictor(), [loader_of(roidb)], 3, **SETTINGS)


def test_saved_detections_have_the_layout_of_the_release_and_are_read_safely(roidb, tmp_path):
    all_boxes = detect_all(FakePredictor(), [loader_of(roidb)], 3, **SETTINGS)
    path = str(tmp_path / 'new' / 'detections.pkl')
    save_detections(all_boxes, path)
    with open(path, 'rb') as file:
        plain = pickle.load(file)
    for loaded in plain, load_pickle(path):
        assert np.array_equal(loaded[2][3], all_boxes[2][3])


@pytest.fixture
def trained(tiny_run, tiny_params):
    """A function (KEY=VALUE, ...) -> configuration, predictor, test set of the tiny network."""
    def make(*overrides):
        cfg = load_config(tiny_run / 'config.yaml', ['TEST.SCORE_THRESH=0.01'] + list(overrides))
        return cfg, inference.predictor(cfg, tiny_params), data_sets.datasets(cfg, 'test')[0]
    return make


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
    # The neighbours in a batch decide how much an image is padded.
    roidb = [roidb[i] for i in largest_first(roidb, cfg.SCALES[0])]
    plain = detections(trained()[0], predictor, roidb)
    mirrored = [dict(entry, flipped=True) for entry in roidb]
    loader = image_loader(cfg, mirrored)
    only_mirrored = detect_all(predictor, [loader], imdb.num_classes, **nms_settings(cfg))
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


def test_a_data_set_with_its_classes_in_another_order_is_not_evaluated(trained, tiny_voc):
    cfg, predictor, _ = trained('dataset.CLASSES=[red, blue]')
    own = make_dataset('PascalVOC', 'test', str(tiny_voc))      # blue, red
    with pytest.raises(DatasetError, match='has the classes blue, red, and the configuration red, blue, so that'):
        evaluate(cfg, predictor, own)


def test_the_last_incomplete_batch_counts_once(trained):
    cfg, predictor, imdb = trained(*VIEWS, 'TEST.BATCH_IMAGES=2')  # three images
    all_boxes = detections(cfg, predictor, imdb.gt_roidb())
    assert len(all_boxes[1]) == 3 and all(len(dets[2]) for dets in all_boxes[1:])


@pytest.mark.parametrize('overrides, settings', [
    ([], dict(method='nms', nms_thresh=0.3, vote_thresh=None)),
    (['TEST.NMS_METHOD=soft_linear', 'TEST.NMS=0.4'], dict(method='linear', nms_thresh=0.4, vote_thresh=None)),
    (['TEST.NMS_METHOD=soft_gaussian'], dict(method='gaussian', nms_thresh=0.5, vote_thresh=None)),
    (['TEST.BOX_VOTING=true', 'TEST.BOX_VOTING_THRESH=0.6'], dict(method='nms', nms_thresh=0.3, vote_thresh=0.6)),
], ids=['hard', 'soft_linear', 'soft_gaussian', 'voting'])
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
