"""What was found in pictures, as files for other programs."""
import json

import pytest

from lib.errors import DatasetError
from lib.utils.result_files import JsonLines, YoloFiles


def test_lines_of_json_hold_no_character_that_a_terminal_obeys_and_give_every_name_back(tmp_path):
    name = 'stra\u00dfe\x1b[31m\x07\x9b\u202e\n"\udcff.jpg'    # the last is a byte that is no UTF-8
    with JsonLines(tmp_path / 'found.jsonl') as file:
        file.add(name, (8, 8), [('r\u202eed', 0.5, (0, 0, 4, 4))])
    text = (tmp_path / 'found.jsonl').read_text(encoding='utf-8')
    assert text == ('{"image": "stra\u00dfe\\u001b[31m\\u0007\\u009b\\u202e\\n\\"\\udcff.jpg", '
                    '"class_name": "r\\u202eed", "score": 0.5, "box": [0.0, 0.0, 4.0, 4.0]}\n')
    line = json.loads(text)
    assert (line['image'], line['class_name']) == (name, 'r\u202eed')


@pytest.mark.parametrize('name', ['re\nd', 'red\r', 'r\u2028ed', ''])
def test_a_class_that_is_no_line_of_classes_txt_is_refused_before_the_work(tmp_path, name):
    with pytest.raises(DatasetError, match='classes.txt of YOLO has a class in a line'), \
            YoloFiles(tmp_path / 'out', ['blue', name]):
        pass
    assert not list(tmp_path.iterdir())
    with YoloFiles(tmp_path / 'out', ['light blue']):
        pass
    assert (tmp_path / 'out' / 'classes.txt').read_text() == 'light blue\n'
