"""The sheet of detections: which are hits, which false alarms, which objects are missed, and where pictures stand."""
import pickle
from pathlib import Path

import numpy as np
import pytest
import yaml

from experiments.draw_sheet import FALSE_ALARM, HIT, MARGIN, MISSED, judged, main, rows_of, verdicts
from lib.errors import DatasetError, UserError
from rfcn import data_sets
from rfcn.config.config import load_config

CLASSES = ('__background__', 'cat', 'dog')


def test_the_best_detection_of_an_object_is_right_and_its_copies_are_not():
    boxes = np.array([[0., 0, 99, 99], [200, 0, 299, 99]])
    dets = np.array([[0, 0, 99, 99, .9], [5, 0, 99, 99, .8], [200, 0, 299, 99, .7], [400, 0, 499, 99, .6]])
    right, found = verdicts(dets, boxes)
    assert right.tolist() == [True, False, True, False] and found.tolist() == [True, True]


def test_without_objects_or_without_detections_nothing_is_right():
    right, found = verdicts(np.array([[0, 0, 9, 9, .9]]), np.zeros((0, 4)))
    assert right.tolist() == [False] and found.tolist() == []
    right, found = verdicts(np.zeros((0, 5)), np.array([[0., 0, 9, 9]]))
    assert right.tolist() == [] and found.tolist() == [False]


def test_hits_misses_and_false_alarms_have_their_colours_and_hits_are_on_top():
    dets = [[], [[0, 0, 99, 99, .9], [300, 0, 399, 99, .8], [0, 0, 99, 99, .1]], [[0, 0, 99, 99, .7]]]
    boxes, colors, texts = judged(dets, np.array([[0., 0, 99, 99], [200, 0, 299, 99]]), np.array([1, 2]), CLASSES, 0.5)
    assert texts == ['dog', 'cat 0.80', 'dog 0.70', 'cat 0.90']
    assert colors == [MISSED, FALSE_ALARM, FALSE_ALARM, HIT]
    assert boxes[0].tolist() == [200, 0, 299, 99] and boxes[3].tolist() == [0, 0, 99, 99]


def test_rows_are_as_wide_as_the_sheet_and_the_last_one_is_not_enlarged():
    shapes = [(400, 300), (300, 400), (500, 375), (500, 250)]   # pairs: 2.67, 1.5, 2.67, 4 times as wide as high
    rows = rows_of(shapes, width=800, height=200)
    assert [numbers for numbers, _ in rows] == [[0, 1], [2, 3]]
    assert rows[0][1] == int((800 - 6 * MARGIN) / (8 / 3 + 1.5)) and rows[1][1] < 200
    assert rows_of([(400, 300)], width=800, height=200) == [([0], 200)]


@pytest.mark.parametrize('own', ['voc/JPEGImages/high1.jpg', 'tiny.yaml', 'x.pkl'])
def test_a_sheet_never_takes_the_place_of_what_is_read(own_tiny_voc, tiny_yaml, own):
    folder = own_tiny_voc.parent
    cfg = tiny_yaml(own_tiny_voc)
    (folder / 'x.pkl').write_bytes(b'detections')
    before = (folder / own).read_bytes()
    with pytest.raises(UserError, match='%s: this file is read' % own):
        main(['--cfg', cfg, '--detections', str(folder / 'x.pkl'), '--out', str(folder / own)])
    assert (folder / own).read_bytes() == before


def test_the_limit_of_pixels_is_that_of_the_configuration(own_tiny_voc, tiny_yaml, tmp_path):
    cfg = yaml.safe_load(Path(tiny_yaml(own_tiny_voc)).read_text())
    cfg['dataset']['MAX_PIXELS'] = 100
    (tmp_path / 'few.yaml').write_text(yaml.safe_dump(cfg))
    imdb, = data_sets.datasets(load_config(str(tmp_path / 'few.yaml')), cfg['dataset']['test_image_set'])
    all_boxes = [[np.zeros((0, 5))] * imdb.num_images] * imdb.num_classes
    (tmp_path / 'x.pkl').write_bytes(pickle.dumps(all_boxes))
    with pytest.raises(DatasetError, match='more than the limit of 100 pixels'):
        main(['--cfg', str(tmp_path / 'few.yaml'), '--detections', str(tmp_path / 'x.pkl'), '--out',
              str(tmp_path / 'sheet.jpg')])
