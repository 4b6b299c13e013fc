"""From the network's outputs to the detections of a data set."""
import pickle

import numpy as np
import pytest

from lib.dataset.pascal_voc import PascalVOC
from lib.utils import safe_pickle
from rfcn.core.loader import TestLoader
from rfcn.core.tester import detect_all, image_detections, save_detections

SETTINGS = dict(thresh=0.05, nms_thresh=0.3, max_per_image=10, class_agnostic=True)


def outputs_for(rois, probabilities):
    """Of `Predictor.predict`, for boxes that need no correction: (B, R, 4) and (B, R, C)."""
    rois, probabilities = np.asarray(rois, dtype=np.float32), np.asarray(probabilities, dtype=np.float32)
    images, count = rois.shape[:2]
    numbers = np.repeat(np.arange(images), count).reshape(images, count, 1)
    return {'rois': np.concatenate((numbers, rois), axis=2).reshape(-1, 5), 'cls_prob': probabilities,
            'bbox_pred': np.zeros((images, count, 8), dtype=np.float32)}


def test_detections_are_in_the_pixels_of_the_original_image():
    outputs = outputs_for([[[0, 0, 19, 9], [40, 40, 59, 59]]], [[[0.1, 0.9, 0.0], [0.2, 0.0, 0.8]]])
    background, first, second = image_detections(outputs, np.array([[60, 60, 2.0]]), 1, **SETTINGS)[0]
    assert len(background) == 0
    np.testing.assert_allclose(first, [[0, 0, 9.5, 4.5, 0.9]], atol=1e-6)
    np.testing.assert_allclose(second, [[20, 20, 29.5, 29.5, 0.8]], atol=1e-6)


def test_boxes_are_clipped_to_the_image_without_its_padding():
    outputs = outputs_for([[[0, 0, 99, 99]]], [[[0, 1]]])
    found = image_detections(outputs, np.array([[40, 60, 1.0]]), 1, **SETTINGS)[0][1]
    np.testing.assert_allclose(found, [[0, 0, 59, 39, 1]])


def test_images_that_only_fill_a_batch_up_do_not_count():
    outputs = outputs_for([[[0, 0, 9, 9]], [[0, 0, 5, 5]]], [[[0, 1]], [[0, 1]]])
    assert len(image_detections(outputs, np.array([[60, 60, 1], [60, 60, 1]]), 1, **SETTINGS)) == 1


class FakePredictor(object):
    """Finds in every image one box as large as the image, with a score that tells its size."""

    def predict(self, batch):
        """See `Predictor.predict`."""
        im_info = batch.data[1].asnumpy()
        rois = [[[0, 0, width - 1, height - 1]] for height, width, _ in im_info]
        return outputs_for(rois, [[[0, 0.5, 0.001 * width]] for _, width, _ in im_info])


@pytest.fixture
def roidb(tiny_voc):
    """Of the six training images."""
    return PascalVOC('train', '', str(tiny_voc)).gt_roidb()


def loader_of(roidb, batch_size=4, **settings):
    return TestLoader(roidb, batch_size, scales=((64, 96),), pixel_means=np.zeros(3), **settings)


def test_every_image_gets_its_own_detections_once(roidb):
    all_boxes = detect_all(FakePredictor(), loader_of(roidb), 3, **SETTINGS)
    assert [len(of_class) for of_class in all_boxes] == [6, 6, 6] and not any(len(boxes) for boxes in all_boxes[0])
    sizes = [(entry['width'], entry['height']) for entry in roidb]
    for class_number in 1, 2:
        found = [tuple(np.round(boxes[0, 2:4] + 1)) for boxes in all_boxes[class_number]]
        np.testing.assert_allclose(found, sizes, atol=1)


def test_an_image_that_cannot_be_read_has_no_detections(roidb, tmp_path):
    roidb[1] = dict(roidb[1], image=str(tmp_path / 'gone.jpg'))
    all_boxes = detect_all(FakePredictor(), loader_of(roidb, on_bad_image='skip'), 3, **SETTINGS)
    assert [len(boxes) for boxes in all_boxes[1]] == [1, 0, 1, 1, 1, 1]
    with pytest.raises(FileNotFoundError, match='gone.jpg'):
        detect_all(FakePredictor(), loader_of(roidb), 3, **SETTINGS)


def test_saved_detections_have_the_layout_of_the_release_and_are_read_safely(roidb, tmp_path):
    all_boxes = detect_all(FakePredictor(), loader_of(roidb), 3, **SETTINGS)
    path = str(tmp_path / 'new' / 'detections.pkl')
    save_detections(all_boxes, path)
    with open(path, 'rb') as file:
        plain = pickle.load(file)
    for loaded in plain, safe_pickle.load(path):
        assert np.array_equal(loaded[2][3], all_boxes[2][3])
