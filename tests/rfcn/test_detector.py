"""The public Python API."""
import cv2
import numpy as np
import pytest

import rfcn
from lib.errors import CheckpointError, ConfigError, DatasetError
from rfcn.config.config import load_config
from rfcn.detector import Detection, Detector, as_detections


@pytest.fixture(scope='module')
def detector(tiny_run):
    return Detector(str(tiny_run / 'config.yaml'), tiny_run / 'tiny-0001.params', ['TEST.SCORE_THRESH=0.01'])


@pytest.fixture
def picture(tiny_voc):
    return str(tiny_voc / 'JPEGImages' / 'wide1.jpg')


def test_the_detector_is_what_the_package_offers():
    assert rfcn.Detector is Detector
    with pytest.raises(AttributeError, match='module rfcn has no attribute'):
        rfcn.nothing


def test_detections_have_class_score_and_box_and_the_best_comes_first(detector, picture):
    found = detector.detect(picture)
    assert found and all(isinstance(detection, Detection) for detection in found)
    assert {detection.class_name for detection in found} <= {'red', 'blue'}
    scores = [detection.score for detection in found]
    assert scores == sorted(scores, reverse=True) and 0.01 < scores[-1] and scores[0] <= 1
    for _, _, box in found:
        assert box.shape == (4,) and box.dtype == np.float32
        assert 0 <= box[0] <= box[2] <= 95 and 0 <= box[1] <= box[3] <= 63


def test_a_path_and_its_pixels_are_the_same_image(detector, picture, tiny_voc):
    from_path, from_array = detector.detect(picture), detector.detect(cv2.imread(picture))
    from_pathlib = detector.detect(tiny_voc / 'JPEGImages' / 'wide1.jpg')
    for one, other, third in zip(from_path, from_array, from_pathlib):
        assert one.class_name == other.class_name == third.class_name and one.score == other.score == third.score
        assert np.array_equal(one.box, other.box) and np.array_equal(one.box, third.box)


def test_a_threshold_is_for_one_call(detector, picture):
    everything = detector.detect(picture)
    middle = everything[len(everything) // 2].score
    assert 0 < len(detector.detect(picture, score_thresh=middle)) < len(everything)
    assert len(detector.detect(picture)) == len(everything)
    assert detector.detect(picture, score_thresh=1.0) == []


def test_by_class_the_same_boxes_come_as_arrays(detector, picture):
    by_class = detector.detect_by_class(picture)
    assert len(by_class) == 3 and len(by_class[0]) == 0
    assert len(as_detections(by_class, detector.classes)) == len(detector.detect(picture))


@pytest.mark.parametrize('shape', [(1, 1, 3), (5, 200, 3), (300, 40, 3), (97, 131, 3)])
def test_images_of_any_size_are_taken(detector, shape):
    for _, _, box in detector.detect(np.full(shape, 128, dtype=np.uint8)):
        assert box[2] <= shape[1] and box[3] <= shape[0]


@pytest.mark.parametrize('channels', [1, 4])
def test_grey_images_and_those_with_transparency_are_read(detector, tmp_path, channels):
    path = str(tmp_path / 'odd.png')
    cv2.imwrite(path, np.full((40, 50, channels), 100, dtype=np.uint8))
    detector.detect(path)


@pytest.mark.parametrize('image', [np.zeros((10, 10), dtype=np.uint8), np.zeros((10, 10, 4), dtype=np.uint8),
                                   np.zeros((10, 10, 3)), None, 3])
def test_what_is_no_image_is_refused(detector, image):
    with pytest.raises(ValueError, match=r'an image is a path or a \(height, width, 3\) uint8 array'):
        detector.detect(image)


def test_files_that_are_no_image_are_named(detector, tmp_path):
    with pytest.raises(FileNotFoundError, match='gone.jpg'):
        detector.detect(tmp_path / 'gone.jpg')
    (tmp_path / 'text.jpg').write_text('no image')
    with pytest.raises(DatasetError, match='text.jpg'):
        detector.detect(tmp_path / 'text.jpg')


def test_of_many_images_a_bad_one_ends_them_or_leaves_its_place_empty(detector, picture, tmp_path, caplog):
    images = [picture, tmp_path / 'gone.jpg', picture]
    with pytest.raises(FileNotFoundError, match='gone.jpg'):
        list(detector.detect_each(images))
    (first, found), (none, nothing), (last, again) = detector.detect_each(images, skip_bad=True)
    assert first.shape == last.shape and len(found) == len(again) == 3 and none is None and not nothing
    assert 'skipped (on_bad_image: skip)' in caplog.text and 'gone.jpg' in caplog.text


def test_an_image_stride_pads_without_moving_boxes(tiny_run, picture):
    detector = Detector(str(tiny_run / 'config.yaml'), tiny_run / 'tiny-0001.params',
                        ['network.IMAGE_STRIDE=32', 'SCALES=[50, 80]'])
    assert all(detection.box[2] <= 95 and detection.box[3] <= 63 for detection in detector.detect(picture))


def test_a_loaded_configuration_will_do(tiny_run, picture):
    cfg = load_config(tiny_run / 'config.yaml', ['TEST.BATCH_IMAGES=4'])
    assert isinstance(Detector(cfg, str(tiny_run / 'tiny-0001.params')).detect(picture), list)


def test_wrong_files_are_named(tiny_run, tmp_path):
    config, params = tiny_run / 'config.yaml', tiny_run / 'tiny-0001.params'
    with pytest.raises(FileNotFoundError, match='gone.yaml'):
        Detector(tmp_path / 'gone.yaml', params)
    with pytest.raises(FileNotFoundError, match='gone.params'):
        Detector(config, tmp_path / 'gone.params')
    with pytest.raises(CheckpointError, match='config.yaml is damaged or is no MXNet parameter file'):
        Detector(config, config)
    with pytest.raises(ConfigError, match='unknown key TEST.NSM'):
        Detector(config, params, ['TEST.NSM=0.5'])
