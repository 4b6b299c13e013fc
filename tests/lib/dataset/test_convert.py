"""Conversions between the formats: what a format can say comes back as it was."""
import os
import re
import subprocess
import sys
import tempfile

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.dataset import DATASETS, read_annotated
from lib.dataset.annotations import CROWD, DIFFICULT, IGNORED, ITEM, AnnotatedSet, Picture, no_items
from lib.dataset.convert import convert, place_images
from lib.errors import DatasetError
from rfcn.convert_dataset import main
from tests.conftest import ROOT
from tests.lib.dataset.conftest import annotation_text, write_files

FORMATS = sorted(DATASETS)
CLASSES = ('zebra', 'größe 2', 'a "b" & <c>', '#1, x: y', 'a\u00a0b', 'می\u200cدود')     # Persian has a joiner in words
SIZE = (40, 30)
IMAGE = cv2.imencode('.png', np.zeros((30, 40, 3), dtype=np.uint8))[1].tobytes()

corner = st.one_of(st.integers(-5, 45), st.floats(-5, 45).map(lambda value: round(value, 6)))
items = st.lists(st.tuples(st.integers(0, len(CLASSES) - 1), st.tuples(corner, corner, corner, corner),
                           st.sampled_from([0, DIFFICULT, CROWD, IGNORED, DIFFICULT | CROWD])), max_size=4)
sets = st.dictionaries(st.sampled_from(['a.png', 'b c.PNG', 'sub/d.png', 'ä.png', 'e,f;g 1.png']), items, min_size=1)


def make_set(folder, pictures):
    """AnnotatedSet of images below `folder`, one of the corners or flags of each object varied."""
    made = []
    for name, objects in pictures.items():
        path = os.path.join(folder, 'source', name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'wb') as file:
            file.write(IMAGE)
        made.append(Picture(name, name, path, '', SIZE, np.array([(number,) + values + (np.nan,) for number, values
                                                                  in enumerate(objects)], dtype=ITEM)))
    return AnnotatedSet('made', 'train', '', CLASSES, len(CLASSES), made, [], '')


def content(data, flags):
    """What all formats keep: for each image its size and its objects; flags that the format cannot say are left out."""
    return {picture.name: (picture.size or SIZE, [(data.label(item), np.round(item['box'], 6).tolist(),
                                                   flags(int(item['flags']))) for item in picture.items])
            for picture in data.pictures}


FLAGS = {'PascalVOC': bool, 'yolo': lambda flags: None, 'coco': int, 'csv': int}


@pytest.mark.parametrize('target', FORMATS)
@given(pictures=sets)
@settings(max_examples=30, deadline=None)
def test_a_written_set_is_read_as_it_was(target, pictures):
    with tempfile.TemporaryDirectory() as folder:
        data, out = make_set(folder, pictures), os.path.join(folder, 'out')
        os.makedirs(out)
        _, folders = DATASETS[target].write({'train': data}, out)
        place_images(data.pictures, folders['train'])
        found = read_annotated(target, 'train', out)
        assert found.faults == [] and set(found.classes) == set(CLASSES)
        assert content(found, FLAGS[target]) == content(data, FLAGS[target])
        assert found.classes == CLASSES or target == 'PascalVOC'


@pytest.mark.parametrize('middle', FORMATS)
@pytest.mark.parametrize('start', FORMATS)
@given(pictures=sets)
@settings(max_examples=5, deadline=None)
def test_there_and_back_again_loses_only_what_the_other_format_cannot_say(start, middle, pictures):
    with tempfile.TemporaryDirectory() as folder:
        data, places = make_set(folder, pictures), [os.path.join(folder, name) for name in ('one', 'two', 'three')]
        os.makedirs(places[0])
        _, folders = DATASETS[start].write({'train': data}, places[0])
        place_images(data.pictures, folders['train'])
        convert(start, middle, ['train'], places[0], places[1])
        convert(middle, start, ['train'], places[1], places[2], images='link')
        first, last = (read_annotated(start, 'train', place) for place in (places[0], places[2]))
        assert first.classes == last.classes
        keeps_flags = start in ('yolo', middle) or middle in ('coco', 'csv')
        flags = FLAGS[start] if keeps_flags else FLAGS['yolo' if middle == 'yolo' else 'PascalVOC']
        assert content(first, flags) == content(last, flags)


def test_sets_of_a_real_data_set_keep_every_object(real_data, tmp_path):
    convert('PascalVOC', 'yolo', ['test'], str(real_data / 'bccd'), str(tmp_path / 'yolo'), images='link')
    before, after = read_annotated('PascalVOC', 'test', str(real_data / 'bccd')), read_annotated('yolo', 'test',
                                                                                                 str(tmp_path / 'yolo'))
    assert sum(len(picture.items) for picture in before.pictures) == 945
    boxes = [data.table()[0]['box'].tolist() for data in (before, after)]
    assert sorted(boxes[0]) == sorted(boxes[1])     # whole numbers come back exactly


@pytest.fixture
def voc_pair(voc):
    """A VOC folder of the sets train (x.jpg, a cat) and test (y.jpg, nothing)."""
    voc.add('x', [('cat', 2, 3, 11, 12)]).add('y')
    voc.list_images('train', ['x'])
    voc.list_images('test', ['y'])
    return voc.folder


def test_the_script_converts_several_sets_and_says_what_is_lost(voc_pair, tmp_path, capsys):
    (voc_pair / 'Annotations' / 'x.xml').write_text((voc_pair / 'Annotations' / 'x.xml').read_text().replace(
        '<difficult>0', '<difficult>1'))
    out = tmp_path / 'my out'
    arguments = ['--from', 'voc', '--to', 'yolo', '--dataset', str(voc_pair), '--sets', 'train, test,', '--out',
                 str(out)]
    main(arguments)
    printed = capsys.readouterr().out
    assert 'train: 1 image, 1 object of 1 class\n' in printed and 'test: 1 image, 0 objects' in printed
    assert 'note: 1 object was difficult, ignored or a crowd' in printed and \
        "dataset.dataset=yolo dataset.dataset_path='%s'\n" % out in printed
    assert (out / 'labels/train/x.txt').read_text() == '0 0.15 0.23333333333333334 0.25 0.3333333333333333\n'
    assert (out / 'images/test/y.jpg').read_bytes() == (voc_pair / 'JPEGImages/y.jpg').read_bytes()
    with pytest.raises(DatasetError, match='my out: expected a new or empty folder'):
        main(arguments)
    with pytest.raises(DatasetError, match='expected the name of an image set'):
        main([argument if argument != 'train, test,' else ',' for argument in arguments])


def test_two_sets_that_would_get_one_name_are_refused(tmp_path):
    files = {'a.jpg': IMAGE, 'a.txt': b'', 'all/b.jpg': IMAGE, 'all/b.txt': b'', 'classes.txt': b'cat'}
    folder = str(write_files(tmp_path / 'data', files))
    with pytest.raises(DatasetError, match="data: the set '.' is written under the name all, which is that of another"):
        convert('yolo', 'csv', ['.', 'all'], folder, str(tmp_path / 'out'))
    assert not (tmp_path / 'out').exists()


def test_a_set_with_a_fault_is_not_converted(voc_pair, tmp_path):
    (voc_pair / 'JPEGImages' / 'y.jpg').unlink()
    with pytest.raises(DatasetError, match=r'there is no image of this name.*rfcn check lists all faults \(1 here; .* '
                                           r'dataset\.dataset=PascalVOC dataset\.dataset_path=FOLDER '):
        convert('PascalVOC', 'coco', ['train', 'test'], str(voc_pair), str(tmp_path / 'out'))
    assert not (tmp_path / 'out').exists()
    with pytest.raises(DatasetError, match=r"unknown class 'cat'"):
        convert('PascalVOC', 'coco', ['train'], str(voc_pair), str(tmp_path / 'out'), classes=['dog'])
    with pytest.raises(DatasetError, match="unknown format 'pdf'; known are PascalVOC, coco, csv, yolo"):
        convert('PascalVOC', 'pdf', ['train'], str(voc_pair), str(tmp_path / 'out'))


def test_a_class_name_with_a_control_character_is_refused_with_its_place(tmp_path):
    (tmp_path / 'a.png').write_bytes(IMAGE)
    (tmp_path / 'train.csv').write_text('image,x1,y1,x2,y2,class\na.png,1,2,11,12,c\x07at\n')
    with pytest.raises(DatasetError, match=r"train: expected class names without control characters, found 'c\\x07at'"):
        convert('csv', 'coco', ['train'], str(tmp_path), str(tmp_path / 'out'))


@pytest.mark.parametrize('target', FORMATS)
def test_a_set_in_a_folder_is_written_and_read_back(tmp_path, target):
    write_files(tmp_path / 'in', {'day/train/a.jpg': None, 'day/train/a.xml': annotation_text([('cat', 2, 3, 11, 12)])})
    convert('PascalVOC', target, ['day/train'], str(tmp_path / 'in'), str(tmp_path / 'out'))
    picture, = read_annotated(target, 'day/train', str(tmp_path / 'out')).pictures
    assert os.path.isfile(picture.path) and picture.items['box'].tolist() == [[1, 2, 10, 11]]


def test_objects_of_other_classes_are_left_out_where_asked_for(voc, tmp_path, capsys):
    voc.add('x', [('cat', 2, 3, 11, 12), ('dog', 1, 1, 8, 9), ('cow', 4, 4, 9, 9), ('cow', 5, 5, 9, 9)])
    voc.add('y', [('cow', 4, 4, 9, 9)])
    voc.list_images('train', ['x', 'y'])
    arguments = ['--from', 'voc', '--to', 'csv', '--dataset', str(voc.folder), '--sets', 'train', '--classes',
                 'dog,cat', '--on_unknown_class', 'ignore', '--out']
    main(arguments + [str(tmp_path / 'out')])
    printed = capsys.readouterr().out
    assert 'train: 2 images, 2 objects of 2 classes\n' in printed
    assert '3 objects of classes that are not used: cow (3): left out' in printed
    data = read_annotated('csv', 'train', str(tmp_path / 'out'))
    assert [[(data.label(item), *item['box']) for item in picture.items] for picture in data.pictures] == [
        [('cat', 1, 2, 10, 11), ('dog', 0, 0, 7, 8)], []]
    (voc.folder / 'Annotations' / 'y.xml').write_text('<annotation>')
    with pytest.raises(DatasetError, match=r'y\.xml: expected XML'):       # what else is wrong is not left out
        main(arguments + [str(tmp_path / 'other')])


def test_images_whose_annotations_would_share_a_file_are_refused(tmp_path):
    (tmp_path / 'a.png').write_bytes(IMAGE)
    (tmp_path / 'a.bmp').write_bytes(IMAGE)
    (tmp_path / 'train.csv').write_text('a.png,1,2,3,4,cat\na.bmp,1,2,3,4,cat\n')
    for target in ('PascalVOC', 'yolo'):
        with pytest.raises(DatasetError,
                           match=r'a\.png and .*a\.bmp would have the same file in (Annotations|labels/train)'):
            convert('csv', target, ['train'], str(tmp_path), str(tmp_path / target))


def test_an_image_that_a_folder_of_labels_would_not_find_is_refused(tmp_path):
    write_files(tmp_path, {'a.pgm': cv2.imencode('.pgm', np.zeros((9, 9), np.uint8))[1].tobytes(),
                           'train.csv': b'a.pgm,1,2,3,4,cat\n'})
    for target in ('PascalVOC', 'yolo'):
        with pytest.raises(DatasetError, match=r'a\.pgm: expected an image with one of the extensions \.jpg '):
            convert('csv', target, ['train'], str(tmp_path), str(tmp_path / target))


def test_another_file_of_the_same_name_is_never_written_over(tmp_path):
    (tmp_path / 'a.png').write_bytes(IMAGE)
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out' / 'a.png').write_bytes(b'precious')
    with pytest.raises(DatasetError, match='another file of this name is there'):
        place_images([Picture('a', 'a.png', str(tmp_path / 'a.png'), '', None, no_items())], str(tmp_path / 'out'))
    assert (tmp_path / 'out' / 'a.png').read_bytes() == b'precious'


@pytest.mark.parametrize('target', FORMATS)
def test_a_conversion_that_fails_halfway_leaves_nothing_and_can_be_done_again(target, voc_pair, tmp_path, monkeypatch):
    import lib.dataset.convert as module
    placed = module.place_images

    def full_disk(*args):
        placed(*args)
        raise OSError(28, 'No space left on device')
    monkeypatch.setattr(module, 'place_images', full_disk)
    with pytest.raises(OSError, match='No space left'):
        convert('PascalVOC', target, ['train', 'test'], str(voc_pair), str(tmp_path / 'out'))
    assert [path.name for path in tmp_path.iterdir()] == ['pets']
    monkeypatch.setattr(module, 'place_images', placed)
    (tmp_path / 'out').mkdir()                      # an empty folder will do
    convert('PascalVOC', target, ['train', 'test'], str(voc_pair), str(tmp_path / 'out'))
    assert sorted(path.name for path in tmp_path.iterdir()) == ['out', 'pets']
    assert len(read_annotated(target, 'train', str(tmp_path / 'out')).pictures) == 1


def test_what_a_killed_conversion_left_says_what_it_is_and_goes_with_the_next_one(voc_pair, tmp_path):
    code = ('import os, lib.dataset.convert as c\nc.place_images = lambda *args: os._exit(9)\n'
            'c.convert("PascalVOC", "yolo", ["train"], %r, %r)' % (str(voc_pair), str(tmp_path / 'out')))
    assert subprocess.run([sys.executable, '-c', code], cwd=str(ROOT)).returncode == 9
    left, = tmp_path.glob('out.unfinished-*')
    note = (left / 'UNFINISHED.txt').read_text()
    assert 'is what an interrupted program has left of' in note and str(tmp_path / 'out') in note
    assert not (tmp_path / 'out').exists()
    convert('PascalVOC', 'yolo', ['train'], str(voc_pair), str(tmp_path / 'out'))
    assert not left.exists() and not (tmp_path / 'out' / 'UNFINISHED.txt').exists()


LOST = {'PascalVOC': ['a\x01.png', 'caf\udce9.png', 'a\nb.png', ' a.png', 'a .png', 'a\u00a0.png'],
        'csv': ['a\x01.png', 'caf\udce9.png', 'a\nb.png', ' a.png', 'a\\b.png'], 'coco': ['a\\b.png']}
NAMES = sorted({name for names in LOST.values() for name in names}) + ['a b.png', '"a".png', '#1.png', 'a.b.png',
                                                                       'a;b, c.png', 'sub dir/a.png', 'a\u200db.png']


@pytest.mark.parametrize('target', FORMATS)
@pytest.mark.parametrize('name', NAMES, ids=ascii)
def test_an_image_whose_name_would_not_be_read_back_is_named_and_all_others_are_converted(tmp_path, target, name):
    write_files(tmp_path, {'images/train/' + name: IMAGE, 'data.yaml': b'names: [cat]',
                           'labels/train/%s.txt' % name[:-4]: b'0 0.5 0.5 0.5 0.5'})
    if name in LOST.get(target, ()):
        with pytest.raises(DatasetError, match='expected the name of an image in UTF-8, without control characters'):
            convert('yolo', target, ['train'], str(tmp_path), str(tmp_path / 'out'))
        assert not (tmp_path / 'out').exists()
    else:
        convert('yolo', target, ['train'], str(tmp_path), str(tmp_path / 'out'))
        data = read_annotated(target, 'train', str(tmp_path / 'out'))
        assert data.faults == [] and [(picture.name, len(picture.items)) for picture in data.pictures] == [(name, 1)]


@pytest.mark.parametrize('target', FORMATS)
@pytest.mark.parametrize('name', ['.a.png', 'b/.c/a.png'])
def test_an_image_that_a_folder_would_not_give_back_is_not_lost_in_a_conversion(tmp_path, target, name):
    write_files(tmp_path, {'images/' + name: IMAGE, 'train.csv': (name + ',1,2,5,6,cat\n').encode()})
    if target in ('PascalVOC', 'yolo'):
        with pytest.raises(DatasetError, match='a dot at its beginning: others are not read back'):
            convert('csv', target, ['train'], str(tmp_path), str(tmp_path / 'out'))
    else:
        convert('csv', target, ['train'], str(tmp_path), str(tmp_path / 'out'))
        data = read_annotated(target, 'train', str(tmp_path / 'out'))
        assert [len(picture.items) for picture in data.pictures] == [1]


def test_a_box_whose_fractions_yolo_would_not_give_back_stops_the_conversion_with_its_place(tmp_path):
    lines = b'a.png,1,2,5,6,cat\na.png,1,2,%d,6,cat\n' % (9 * SIZE[0])
    write_files(tmp_path, {'images/a.png': IMAGE, 'train.csv': lines})
    with pytest.raises(DatasetError, match=r'train\.csv: line 2 \(cat\), box \(1, 2, .* of less than 2 times .* --fix'):
        convert('csv', 'yolo', ['train'], str(tmp_path), str(tmp_path / 'out'))
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('files, classes, told', [
    ({'more/b.png': IMAGE, 'data.yaml': b'names: [cat, dog]\ntrain: [images, more]'}, None,
     r'more: none of its 1 image has labels'),
    ({'images/b.txt': b'0 0.5 0.5 0.5 0.5'}, None, r'images: 1 file belongs to no image, such as b\.txt'),
    ({'images/labels/a.txt': b''}, None, r'its labels could be .*images/a\.txt or .*images/labels/a\.txt'),
    ({}, ['cat'], r'1 object of classes that are not used: dog \(1\): left out')])
def test_what_training_would_tell_of_the_files_is_told_by_a_conversion_too(tmp_path, files, classes, told):
    write_files(tmp_path, {'images/a.png': IMAGE, 'images/a.txt': b'0 0.5 0.5 0.5 0.5\n1 0.5 0.5 0.9 0.9',
                           'data.yaml': b'names: [cat, dog]\ntrain: images', **files})
    notes = convert('yolo', 'csv', ['train'], str(tmp_path), str(tmp_path / 'out'), classes=classes)[1]
    assert any(re.search(told, note) for note in notes), notes


def test_the_remedy_for_a_size_on_its_side_is_one_that_helps(tmp_path):
    head = 'image,x1,y1,x2,y2,class,width,height\n'
    write_files(tmp_path, {'images/a.png': IMAGE,
                           'train.csv': (head + 'a.png,1,2,5,6,cat,%d,%d\n' % SIZE[::-1]).encode()})
    with pytest.raises(DatasetError, match='Correct it, or turn the picture: rfcn check --fix OUT --upright does it'):
        convert('csv', 'coco', ['train'], str(tmp_path), str(tmp_path / 'out'))
