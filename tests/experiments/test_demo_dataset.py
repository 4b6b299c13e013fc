"""The demo's data set: the same for a seed, readable as VOC, with tight boxes around things of every class."""
import fcntl
import inspect
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from experiments.demo import make_dataset as script
from experiments.demo.make_dataset import SPLITS, STAMP, draw_image, make_dataset
from experiments.demo.paint import sprite
from experiments.demo.scene import NOBODY, box_in_picture, put_down, stay_visible, window
from experiments.demo.shapes import CLASSES
from lib.errors import DatasetError
from lib.utils.folders import FolderInUse

COUNTS = {'train': 24, 'val': 6, 'test': 8}


def contents(folder):
    """dict: path below `folder` -> bytes, of all its files."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob('*')) if path.is_file()}


def names(folder, split):
    """The picture names that the list of a split holds."""
    return (folder / 'ImageSets' / 'Main' / (split + '.txt')).read_text().split()


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    """A small data set of seed 0."""
    folder = tmp_path_factory.mktemp('demo') / 'data'
    assert make_dataset(folder, seed=0, **COUNTS)
    return folder


def test_the_same_seed_gives_the_same_files(dataset, tmp_path):
    make_dataset(tmp_path / 'again', seed=0, **COUNTS)
    assert contents(tmp_path / 'again') == contents(dataset)


def test_another_seed_gives_other_pictures():
    first, things = draw_image(0, 'train', 0, 160)
    other, other_things = draw_image(1, 'train', 0, 160)
    assert (first != other).any() and things != other_things


def test_a_picture_does_not_depend_on_those_before_it_or_on_the_global_random_state():
    np.random.seed(1)
    first, things = draw_image(0, 'val', 3, 160)
    draw_image(0, 'val', 4, 160)
    np.random.seed(2)
    second, second_things = draw_image(0, 'val', 3, 160)
    assert (first == second).all() and things == second_things


def test_the_splits_share_neither_names_nor_pictures(dataset):
    listed = [name for split in SPLITS for name in names(dataset, split)]
    assert len(listed) == sum(COUNTS.values()) == len(set(listed))
    pictures = {(dataset / 'JPEGImages' / (name + '.jpg')).read_bytes() for name in listed}
    assert len(pictures) == len(listed)


def test_every_listed_picture_has_an_annotation_with_its_size_and_boxes_inside_it(dataset):
    seen = Counter()
    for split in SPLITS:
        assert len(names(dataset, split)) == COUNTS[split]
        for name in names(dataset, split):
            image = cv2.imread(str(dataset / 'JPEGImages' / (name + '.jpg')))
            root = ElementTree.parse(str(dataset / 'Annotations' / (name + '.xml'))).getroot()
            assert root.find('filename').text == name + '.jpg'
            size = [int(root.find('size/' + key).text) for key in ('height', 'width', 'depth')]
            assert size == list(image.shape) == [160, 160, 3]
            things = root.findall('object')
            assert 1 <= len(things) <= 6
            for thing in things:
                x1, y1, x2, y2 = (int(thing.find('bndbox/' + key).text) for key in ('xmin', 'ymin', 'xmax', 'ymax'))
                assert 1 <= x1 < x2 <= 160 and 1 <= y1 < y2 <= 160  # VOC counts from 1
                seen[thing.find('name').text] += 1
    assert set(seen) == set(CLASSES)


def test_voc_corners_are_the_boxes_corners_plus_one(dataset):
    _, things = draw_image(0, 'test', 5, 160)
    root = ElementTree.parse(str(dataset / 'Annotations' / 'test_0005.xml')).getroot()
    written = [[int(corner.text) for corner in box] for box in root.iter('bndbox')]
    assert written == [[corner + 1 for corner in thing.box] for thing in things]


@pytest.mark.parametrize('name', CLASSES)
def test_a_thing_fills_its_box_and_nothing_outside(name):
    grey = np.full((160, 160, 3), 128, np.uint8)
    for seed in range(20):
        rng = np.random.RandomState(seed)
        side = rng.uniform(20, 90)
        thing = sprite(name, side, rng)
        image = grey.copy()
        inside, part = window(30, 40, *thing.alpha.shape, size=160)
        put_down(image, thing._replace(colour=np.zeros_like(thing.colour)), inside, part, NoShadow())
        y, x = np.nonzero(image.min(axis=2) < 96)  # a quarter or more of the grey is covered by the black thing
        box = extent_of(thing, 30, 40)
        assert np.abs(np.array([x.min(), y.min(), x.max(), y.max()]) - box).max() <= 2
        assert max(box[2] - box[0], box[3] - box[1]) + 1 == pytest.approx(side, abs=2)


class NoShadow:
    """A random state that makes shadows invisible."""

    def uniform(self, low, high):
        return low


def extent_of(thing, x, y):
    """The box that the data set gives a sprite whose canvas has its corner at (x, y)."""
    return box_in_picture(thing, *window(x, y, *thing.alpha.shape, size=160)).box


def test_a_thing_over_the_border_is_boxed_up_to_the_border_and_called_truncated():
    thing = sprite('ball', 40, np.random.RandomState(0))
    height, width = thing.alpha.shape
    cut = box_in_picture(thing, *window(-10, 160 - height + 10, height, width, size=160))
    assert cut.truncated and cut.box[0] == 0 and cut.box[3] == 159
    whole = box_in_picture(thing, *window(0, 0, height, width, size=160))
    assert not whole.truncated


def test_a_thing_that_would_hide_too_much_of_another_is_refused():
    owners = np.full((20, 20), NOBODY)
    owners[0:10, 0:10] = 0  # 100 pixels, of which 65 must stay
    covered_30, covered_40 = np.s_[0:10, 7:17], np.s_[0:10, 6:16]
    mask = np.ones((10, 10), bool)
    assert stay_visible(owners, [100], covered_30, mask, 100)
    assert not stay_visible(owners, [100], covered_40, mask, 100)


def test_a_thing_that_is_mostly_beyond_the_border_is_refused():
    owners = np.full((20, 20), NOBODY)
    assert stay_visible(owners, [], np.s_[0:10, 0:7], np.ones((10, 7), bool), 100)
    assert not stay_visible(owners, [], np.s_[0:10, 0:6], np.ones((10, 6), bool), 100)


def test_sizes_and_numbers_of_things_vary():
    drawn = [draw_image(0, 'train', number, 160)[1] for number in range(60)]
    sides = [max(t.box[2] - t.box[0], t.box[3] - t.box[1]) + 1 for things in drawn for t in things if not t.truncated]
    assert {len(things) for things in drawn} == {1, 2, 3, 4, 5, 6}
    assert 20 <= min(sides) < 28 and 75 < max(sides) <= 92


def test_a_second_call_with_the_same_parameters_writes_nothing(tmp_path):
    make_dataset(tmp_path / 'd', train=2, val=1, test=1)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / 'd').rglob('*')}
    assert make_dataset(tmp_path / 'd', train=2, val=1, test=1) is False
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / 'd').rglob('*')} == before


def test_other_parameters_write_the_data_set_anew(tmp_path):
    make_dataset(tmp_path, train=3, val=1, test=1)
    assert make_dataset(tmp_path, train=2, val=1, test=1, size=96, seed=5)
    assert len(list((tmp_path / 'JPEGImages').iterdir())) == len(list((tmp_path / 'Annotations').iterdir())) == 4
    assert cv2.imread(str(tmp_path / 'JPEGImages' / 'train_0000.jpg')).shape == (96, 96, 3)


def test_an_interrupted_call_is_made_good_by_the_next(tmp_path, monkeypatch):
    def full_disk(*args):
        raise OSError('disk full')
    with monkeypatch.context() as patch:
        patch.setattr(script, 'write_split', full_disk)
        with pytest.raises(OSError):
            make_dataset(tmp_path, train=1, val=1, test=1)
    assert make_dataset(tmp_path, train=1, val=1, test=1)
    assert names(tmp_path, 'train') == ['train_0000']


def test_a_second_call_is_refused_while_the_first_draws(tmp_path):
    make_dataset(tmp_path, train=2, val=1, test=1)
    (tmp_path / STAMP).write_text('{}')     # as it is until all is drawn
    with open(str(tmp_path / '.lock'), 'a') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)    # as another process would hold it
        with pytest.raises(FolderInUse, match='is in use by another run'):
            make_dataset(tmp_path, train=2, val=1, test=1)
    assert (tmp_path / 'JPEGImages' / 'train_0001.jpg').is_file()
    assert make_dataset(tmp_path, train=2, val=1, test=1)


def test_a_folder_with_other_files_is_refused_and_left_alone(tmp_path):
    (tmp_path / 'JPEGImages').mkdir()
    (tmp_path / 'JPEGImages' / 'mine.jpg').write_bytes(b'precious')
    with pytest.raises(DatasetError, match=STAMP):
        make_dataset(tmp_path)
    assert (tmp_path / 'JPEGImages' / 'mine.jpg').read_bytes() == b'precious'


@pytest.mark.parametrize('words, said', [(['--size', '15'], 'expected a whole number from 16'),
                                         (['--train', '-1'], 'expected a whole number from 0'),
                                         (['--seed', '-1'], 'expected a whole number from 0')])
def test_what_cannot_be_drawn_is_refused_before_an_earlier_data_set_is_emptied(tmp_path, capsys, words, said):
    make_dataset(tmp_path / 'out', train=1, val=0, test=0, size=32)
    with pytest.raises(SystemExit):
        script.main(['--out', str(tmp_path / 'out')] + words)
    assert said in capsys.readouterr().err
    assert (tmp_path / 'out' / 'JPEGImages' / 'train_0000.jpg').is_file()


def test_the_script_runs_from_any_folder(tmp_path):
    command = [sys.executable, str(Path(script.__file__)), '--out', 'd', '--train', '2', '--val', '1', '--test', '1']
    done = subprocess.run(command, cwd=str(tmp_path), check=True, stdout=subprocess.PIPE, text=True)
    assert 'written' in done.stdout and (tmp_path / 'd' / 'JPEGImages' / 'train_0001.jpg').is_file()


def test_the_demo_and_its_rows_draw_the_same_data_set(monkeypatch):
    calls = []
    monkeypatch.setattr(script, 'make_dataset', lambda **arguments: calls.append(arguments))
    script.main(['--out', 'data/demo'])
    defaults = {name: value.default for name, value in inspect.signature(make_dataset).parameters.items()}
    assert calls == [dict(defaults, out='data/demo')] and defaults['train'] == 1600
    assert '/make_dataset.py --out data/demo\n' in (Path(script.__file__).parent / 'run.sh').read_text()


def test_a_folder_whose_name_is_no_utf8_is_written_and_a_file_that_cannot_be_is_named(tmp_path, capsys):
    out = tmp_path / os.fsdecode(b'\xff')
    script.main(['--out', str(out)] + '--train 1 --val 1 --test 1'.split())
    assert len(list((out / 'JPEGImages').iterdir())) == 3 and r'\xff: written with' in capsys.readouterr().out
    with pytest.raises(OSError, match='/dev/full could not be written'):
        script.write(Path('/dev/full'), b'x')
