"""The public Python API."""
import copy
import io
import itertools
import math
import os
import pickle
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import mxnet as mx
import numpy as np
import pytest
from PIL import Image, ImageFile

import rfcn
from lib.errors import CheckpointError, ConfigError, DatasetError
from rfcn.config.config import load_config
from rfcn.detector import Detection, Detector
from tests.conftest import ROOT


@pytest.fixture(scope='module')
def detector(tiny_run):
    return Detector(str(tiny_run / 'config.yaml'), tiny_run / 'tiny-0001.params', ['TEST.SCORE_THRESH=0.01'])


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
    assert from_path and same(from_array, from_path) and same(from_pathlib, from_path)


def test_a_threshold_is_for_one_call(detector, picture):
    everything = detector.detect(picture)
    middle = everything[len(everything) // 2].score
    assert 0 < len(detector.detect(picture, score_thresh=middle)) < len(everything)
    assert len(detector.detect(picture)) == len(everything)
    assert detector.detect(picture, score_thresh=1.0) == []


def test_by_class_the_same_boxes_come_as_arrays(detector, picture):
    by_class, found = detector.detect_by_class(picture), detector.detect(picture)
    assert len(by_class) == 3 and len(by_class[0]) == 0     # no box is one of the background
    for rows, name in zip(by_class[1:], ('blue', 'red')):
        best_first = rows[np.argsort(-rows[:, 4], kind='stable')].astype(np.float32)
        expected = [np.append(one.box, np.float32(one.score)) for one in found if one.class_name == name]
        assert expected and np.array_equal(best_first, expected)


@pytest.mark.parametrize('shape', [(1, 1, 3), (5, 200, 3), (300, 40, 3), (97, 131, 3)])
def test_images_of_any_size_are_taken(detector, shape):
    found = detector.detect(np.full(shape, 128, dtype=np.uint8))
    assert found
    for _, _, box in found:
        # cut off at the last pixel of the network's input, which is narrower than one of an enlarged image
        assert 0 <= box[0] <= box[2] < shape[1] and 0 <= box[1] <= box[3] < shape[0]


@pytest.mark.parametrize('channels', [1, 4], ids=['grey', 'transparent'])
def test_files_of_one_channel_or_of_four_are_the_image_of_three(detector, tmp_path, channels):
    picture = np.random.RandomState(0).randint(0, 256, (40, 50, 3)).astype(np.uint8)
    if channels == 1:
        picture[:] = picture[:, :, :1]
    file = picture[:, :, :1] if channels == 1 else np.dstack((picture, picture[:, :, 0]))
    cv2.imwrite(str(tmp_path / 'odd.png'), file)
    found = detector.detect(tmp_path / 'odd.png')
    assert found and same(found, detector.detect(picture))


def same(found, others):
    """Whether two lists of detections are equal to the last bit."""
    return [d.class_name for d in found] == [d.class_name for d in others] and \
        [d.score for d in found] == [d.score for d in others] and \
        all(np.array_equal(d.box, o.box) for d, o in zip(found, others))


def test_arrays_and_pil_images_of_every_kind_are_the_same_image(detector, picture):
    bgr = cv2.imread(picture)
    expected = detector.detect(bgr)
    assert expected and same(detector.detect(bgr[:, :, ::-1], rgb=True), expected)
    assert same(detector.detect(np.dstack((bgr, np.zeros(bgr.shape[:2], dtype=np.uint8)))), expected)
    assert same(detector.detect(np.dstack((bgr[:, :, ::-1], bgr[:, :, 0])), rgb=True), expected)
    assert same(detector.detect(np.asfortranarray(bgr)), expected)
    pil = Image.fromarray(bgr[:, :, ::-1])
    assert same(detector.detect(pil), expected) and same(detector.detect(pil.convert('RGBA')), expected)
    assert same(detector.detect(os.fsencode(picture)), expected)
    assert not same(detector.detect(bgr, rgb=True), expected)


def test_grey_arrays_and_pil_images_have_three_equal_channels(detector, picture):
    grey = cv2.imread(picture, cv2.IMREAD_GRAYSCALE)
    expected = detector.detect(np.dstack([grey] * 3))
    assert expected
    for image in grey, grey[:, :, None], Image.fromarray(grey):
        assert same(detector.detect(image), expected)


@pytest.mark.parametrize('image, said', [
    pytest.param(np.zeros((10, 10, 3)),
                 r'not an array of shape \(10, 10, 3\) and dtype float64; convert it: .*where white is 1$',
                 id='float64'),
    pytest.param(np.zeros((10, 10, 3), dtype=np.uint16), r'dtype uint16; convert it: .*// 256.* where white is 65535$',
                 id='uint16'),
    pytest.param(np.zeros((10, 10, 3), dtype=bool), r'dtype bool$', id='bool'),
    pytest.param(np.zeros((3, 10, 12), dtype=np.uint8), r'the channels come last: image.transpose\(1, 2, 0\)',
                 id='channels first'),
    pytest.param(np.zeros((0, 10, 3), dtype=np.uint8), r'shape \(0, 10, 3\) and dtype uint8, which has no pixels',
                 id='no rows'),
    pytest.param(np.zeros((0,), dtype=np.uint8), r'shape \(0,\)', id='one dimension'),
    pytest.param(np.zeros((10, 10, 2), dtype=np.uint8), r'shape \(10, 10, 2\)', id='two channels'),
    pytest.param(np.zeros((1, 10, 10, 3), dtype=np.uint8), r'shape \(1, 10, 10, 3\)', id='batch'),
    pytest.param(mx.nd.zeros((10, 10, 3)), r'not a NDArray; call its numpy\(\) or asnumpy\(\) first', id='NDArray'),
    pytest.param(Image.new('I', (4, 4)), r'a PIL image of mode I, which .* white; give .*convert\(.L.\) cuts off',
                 id='PIL mode I'),
    pytest.param(b'\xff\xd8\0', r'not a bytes; of what a file holds, PIL.Image.open\(io.BytesIO\(content\)\) makes',
                 id='content'),
    pytest.param(io.BytesIO(), r'not a BytesIO; of an open file, PIL.Image.open\(file\) makes', id='open file'),
    pytest.param(None, 'not a NoneType', id='None'), pytest.param(3, 'not a int', id='int'),
    pytest.param([[1]], 'not a list', id='list')])
def test_what_is_no_image_is_refused_with_what_is_expected(detector, image, said):
    expected = r'an image is a path, a PIL image or a \(height, width, 3\) uint8 array.*'
    with pytest.raises(ValueError, match=expected + said):
        detector.detect(image)


def test_a_damaged_or_too_large_pil_image_is_named(detector, picture, tmp_path, monkeypatch):
    path = tmp_path / 'cut.jpg'
    path.write_bytes(Path(picture).read_bytes()[:700])
    monkeypatch.setattr(ImageFile, 'LOAD_TRUNCATED_IMAGES', True)   # as GluonCV does when it is imported
    with pytest.raises(DatasetError, match='cut.jpg: Pillow cannot decode it'):
        detector.detect(Image.open(str(path)))
    with pytest.raises(DatasetError, match='an image of 10000 x 9000 pixels'):
        detector.detect(Image.new('1', (10000, 9000)))


@pytest.mark.parametrize('thresh', [7, -0.1, math.nan, math.inf, '0.5'])
def test_a_threshold_that_is_no_part_of_one_is_refused(detector, picture, thresh):
    with pytest.raises(ValueError, match='score_thresh: expected a number from 0 to 1, found'):
        detector.detect(picture, score_thresh=thresh)


def test_threads_share_a_detector_and_get_their_own_results(detector):
    # Pictures of twelve sizes, so that the network is bound anew amid the others' work.
    noise = np.random.RandomState(1)
    images = [noise.randint(0, 255, (40 + 7 * n, 60 + 5 * (n % 5), 3)).astype(np.uint8) for n in range(12)] * 2
    expected = [detector.detect(image) for image in images]
    assert any(expected)
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(detector.detect, images, timeout=300))
    assert all(same(one, other) for one, other in zip(found, expected))


def test_two_detectors_in_two_threads_do_not_disturb_each_other(detector, tiny_run, picture):
    other = Detector(str(tiny_run / 'config.yaml'), tiny_run / 'tiny-0001.params', ['TEST.SCORE_THRESH=0.01'])
    expected = detector.detect(picture)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda number: (detector, other)[number % 2].detect(picture), range(20), timeout=300))
    assert all(same(one, expected) for one in found)


DETECTS_IN_FORKS = '''
import multiprocessing, sys, threading
from rfcn import Detector
config, params, picture = sys.argv[1:]
detector, ended = Detector(config, params), threading.Event()
expected = len(detector.detect(picture))

def work():
    while not ended.is_set():
        detector.detect(picture)

def child():
    sys.exit(0 if len(detector.detect(picture)) == expected else 1)

thread = threading.Thread(target=work)
thread.start()
processes = [multiprocessing.get_context('fork').Process(target=child) for _ in range(10)]
for process in processes:
    process.start()
    process.join()
ended.set()
thread.join()
print([process.exitcode for process in processes])
'''


def test_a_process_that_is_forked_while_a_thread_detects_detects_as_well(tiny_run, tiny_params, picture):
    command = [sys.executable, '-W', 'ignore', '-c', DETECTS_IN_FORKS]
    command += [str(tiny_run / 'config.yaml'), tiny_params, picture]
    with subprocess.Popen(command, cwd=str(ROOT), stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            assert process.communicate(timeout=120)[0] == '%s\n' % ([0] * 10)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)      # and the child that it waits for


def test_a_copy_of_a_detector_that_was_used_detects_the_same(tiny_run, tiny_params, picture, tmp_path, monkeypatch):
    monkeypatch.chdir(tiny_run)
    detector = Detector('config.yaml', os.path.relpath(tiny_params))
    expected = detector.detect(picture)
    monkeypatch.chdir(tmp_path)
    for another in pickle.loads(pickle.dumps(detector)), copy.deepcopy(detector):
        assert same(another.detect(picture), expected)


def test_many_images_come_in_order_and_may_be_endless(detector, picture):
    expected = detector.detect(picture)
    black = np.zeros((64, 96, 3), dtype=np.uint8)
    many = detector.detect_many(itertools.cycle([picture, black]))
    first, second, third = next(many), next(many), next(many)
    assert same(first, expected) and same(third, expected) and not same(second, expected)
    many.close()
    assert [found is None for found in detector.detect_many(['gone.jpg', picture], skip_bad=True)] == [True, False]


def test_what_is_loaded_on_demand_is_among_the_names_that_a_notebook_completes():
    assert {'Detector', 'explain'} <= set(dir(rfcn))


def test_a_drawing_shows_what_was_found_or_what_is_given(detector, picture):
    image = cv2.imread(picture)
    assert np.any(detector.draw(picture, score_thresh=0.05) != image)
    assert np.array_equal(detector.draw(image, []), image)
    assert np.array_equal(detector.draw(picture, score_thresh=1), image)
    given = [Detection('red', 0.9, np.array([10, 20, 60, 50], dtype=np.float32))]
    drawn = detector.draw(image, given)
    assert np.any(drawn[50, 20:50] != image[50, 20:50]) and not np.any(drawn[55:] != image[55:])
    assert np.array_equal(detector.draw(image[:, :, ::-1], given, rgb=True), drawn)
    with pytest.raises(ValueError, match="no class is called 'dog'; there are blue, red"):
        detector.draw(image, [given[0]._replace(class_name='dog')])


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
    assert 'skipped: ' in caplog.text and 'gone.jpg' in caplog.text


@pytest.mark.parametrize('one', ['folder', b'a.jpg', Path('a.jpg'), np.zeros((10, 12, 3), dtype=np.uint8)],
                         ids=['text', 'bytes', 'path', 'array'])
def test_one_image_in_the_place_of_many_is_refused(detector, one):
    with pytest.raises(ValueError, match=r'images: expected several, .*, found one .*: write \[image\]'):
        list(detector.detect_many(one))


def test_a_stack_of_images_is_many(detector):
    assert len(list(detector.detect_many(np.zeros((2, 10, 12, 3), dtype=np.uint8)))) == 2


def test_an_image_stride_pads_without_moving_boxes(tiny_run, picture):
    detector = Detector(str(tiny_run / 'config.yaml'), tiny_run / 'tiny-0001.params',
                        ['network.IMAGE_STRIDE=32', 'TEST.SCALES=[50, 80]'])
    found = detector.detect(picture)
    assert found and all(detection.box[2] <= 95 and detection.box[3] <= 63 for detection in found)


def test_a_loaded_configuration_serves_as_its_path_does(detector, tiny_run, tiny_params, picture):
    cfg = load_config(tiny_run / 'config.yaml', ['TEST.BATCH_IMAGES=4', 'TEST.SCORE_THRESH=0.01'])
    assert same(Detector(cfg, tiny_params).detect(picture), detector.detect(picture))


def test_wrong_files_are_named(tiny_run, tmp_path):
    config, params = tiny_run / 'config.yaml', tiny_run / 'tiny-0001.params'
    with pytest.raises(FileNotFoundError, match='gone.yaml'):
        Detector(tmp_path / 'gone.yaml', params)
    with pytest.raises(FileNotFoundError, match='gone.params'):
        Detector(config, tmp_path / 'gone.params')
    with pytest.raises(CheckpointError, match='config.yaml is damaged or is no MXNet parameter file'):
        Detector(config, config)
    with pytest.raises(CheckpointError, match='%s: expected a parameter file: .* this is a folder' % tmp_path):
        Detector(config, tmp_path)
    with pytest.raises(ConfigError, match='unknown key TEST.NSM'):
        Detector(config, params, ['TEST.NSM=0.5'])
    with pytest.raises(ConfigError, match=r"expected a list of KEY=VALUE, .* write \['TEST.NMS=0.5'\]"):
        Detector(config, params, 'TEST.NMS=0.5')
