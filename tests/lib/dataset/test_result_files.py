"""What was found in pictures, as files for other programs."""
import json

import pytest

from lib.dataset.result_files import CocoWriter, JsonWriter, YoloWriter
from lib.errors import DatasetError


def test_lines_of_json_hold_no_character_that_a_terminal_obeys_and_give_every_name_back(tmp_path):
    name = 'stra\u00dfe\x1b[31m\x07\x9b\u202e\n"\udcff.jpg'    # the last is a byte that is no UTF-8
    with JsonWriter(tmp_path / 'found.jsonl') as file:
        file.add(name, (8, 8), [('r\u202eed', 0.5, (0, 0, 4, 4))])
    text = (tmp_path / 'found.jsonl').read_text(encoding='utf-8')
    assert text == ('{"image": "stra\u00dfe\\u001b[31m\\u0007\\u009b\\u202e\\n\\"\\udcff.jpg", '
                    '"class_name": "r\\u202eed", "score": 0.5, "box": [0.0, 0.0, 4.0, 4.0]}\n')
    line = json.loads(text)
    assert (line['image'], line['class_name']) == (name, 'r\u202eed')


@pytest.mark.parametrize('name', ['re\nd', 'red\r', 'r\u2028ed', ''])
def test_a_class_that_is_no_line_of_classes_txt_is_refused_before_the_work(tmp_path, name):
    with pytest.raises(DatasetError, match='classes.txt of YOLO has a class in a line'), \
            YoloWriter(tmp_path / 'out', ['blue', name]):
        pass
    assert not list(tmp_path.iterdir())
    with YoloWriter(tmp_path / 'out', ['light blue']):
        pass
    assert (tmp_path / 'out' / 'classes.txt').read_text() == 'light blue\n'


def test_boxes_end_with_their_picture_though_its_enlargement_ends_a_part_of_a_pixel_later(tmp_path):
    # A picture of 10 x 20 pixels, enlarged 4 times: its last pixels, 39 and 79, are 9.75 and 19.75 of the picture.
    found = [('red', 0.5, (0, 0, 9.75, 19.75)), ('red', 0.25, (2, 4, 6, 11))]
    for file in CocoWriter(tmp_path / 'found.json', ['red']), YoloWriter(tmp_path / 'yolo', ['red']):
        with file:
            file.add('a.jpg', (10, 20), found)
    annotations = json.loads((tmp_path / 'found.json').read_text())['annotations']
    assert [(each['bbox'], each['area']) for each in annotations] == [([0, 0, 10, 20], 200), ([2, 4, 5, 8], 40)]
    # centre (2 + 7) / 2 of 10 and (4 + 12) / 2 of 20, sides 5 of 10 and 8 of 20
    assert (tmp_path / 'yolo' / 'a.txt').read_text() == (
        '0 0.500000 0.500000 1.000000 1.000000 0.500000\n0 0.450000 0.400000 0.500000 0.400000 0.250000\n')


def write_one(folder, classes):
    with YoloWriter(folder, classes) as file:
        file.add('a.jpg', (10, 20), [('red', 0.5, (0, 0, 9, 19))])


@pytest.mark.parametrize('name, text', [
    ('a.txt', '0 0.5 0.5 0.2 0.2\n'), ('other.txt', '0 0.1 0.1 0.2 0.1 0.2 0.2\n'), ('classes.txt', 'blue\nred\n'),
    ('notes.txt', 'to do\n')])
def test_labels_made_by_hand_are_not_replaced(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(DatasetError, match='%s: is not one of the files that are written here' % name):
        write_one(tmp_path, ['red', 'blue'])
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, text)]


def test_files_of_an_earlier_run_are_replaced(tmp_path):
    write_one(tmp_path, ['red', 'blue'])
    before = (tmp_path / 'a.txt').read_text()
    (tmp_path / 'a.txt').write_text('1 0.5 0.5 0.2 0.2 0.9\n')
    (tmp_path / 'empty.txt').write_text('')
    write_one(tmp_path, ['red', 'blue'])
    assert (tmp_path / 'a.txt').read_text() == before
