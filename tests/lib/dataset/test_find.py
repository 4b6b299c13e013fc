"""What is found in a folder of annotated pictures, in the layouts that tools write."""
import errno
import json
import os

import pytest

from lib.dataset import csv_list
from lib.dataset import files as dataset_files
from lib.dataset.find import find_dataset, role_of
from lib.errors import DatasetError

XML = '<annotation><object><name>cat</name></object></annotation>'
LABEL = '0 .5 .5 .1 .1'
COCO = json.dumps({'info': {'a': 1}, 'images': [], 'annotations': [], 'categories': []})


@pytest.fixture
def folder(tmp_path):
    """A function (path -> text, ...) -> a folder with these files; pictures are empty files."""
    def make(**files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path
    return lambda files: make(**files)


@pytest.mark.parametrize('files, expected', [
    ({'ImageSets/Main/train.txt': 'a', 'ImageSets/Main/val.txt': 'b', 'ImageSets/Main/cat_train.txt': 'a 1',
      'Annotations/a.xml': XML}, ('PascalVOC', ('train', 'val'))),
    ({'ImageSets/Main/day/train.txt': 'a', 'ImageSets/Main/day/cat_train.txt': 'a 1',
      'ImageSets/Main/night/train.txt': 'a', 'Annotations/a.xml': XML}, ('PascalVOC', ('day/train', 'night/train'))),
    ({'Annotations/a.xml': XML, 'JPEGImages/a.jpg': ''}, ('PascalVOC', ('.',))),
    ({'annotations/a.xml': XML, 'images/a.png': ''}, ('PascalVOC', ('.',))),
    ({'labels/a.xml': XML, 'data/a.jpg': ''}, ('PascalVOC', ('.',))),                             # FiftyOne
    ({'a.xml': XML, 'a.jpg': '', 'prepared_train.csv': 'image,x1,y1,x2,y2,class\n',
      'prepared_val.csv.tmp-7.csv': 'image,x1,y1,x2,y2,class\n'}, ('PascalVOC', ('.',))),           # by rfcn prepare
    ({'a.xml': XML, 'a.jfif': ''}, ('PascalVOC', ('.',))),
    ({'a.xml': XML, 'a.jpg': ''}, ('PascalVOC', ('.',))),                                         # LabelImg
    ({'train/a.xml': XML, 'train/a.jpg': '', 'valid/b.xml': XML, 'valid/b.jpg': ''},              # Roboflow
     ('PascalVOC', ('train', 'valid'))),
    ({'annotations/instances_train2017.json': COCO, 'annotations/instances_val2017.json': COCO,
      'annotations/person_keypoints.json': '{"images": []}'}, ('coco', ('train2017', 'val2017'))),
    ({'all.json': COCO, 'detections.json': '[]'}, ('coco', ('all',))),
    ({'annotations/person_keypoints_default.json': COCO}, ('coco', ('default',))),                # CVAT
    ({'trainval.json': COCO, 'test.json': COCO}, ('coco', ('test', 'trainval'))),
    ({'annotations/instances_train2017.json': COCO, 'annotations/person_keypoints_train2017.json': COCO},
     ('coco', ('train2017',))),
    ({'labels.csv': 'filename,xmin,ymin,xmax,ymax,class\n', 'a.jpg': '', 'a.xml': XML}, ('PascalVOC', ('.',))),
    ({'train/_annotations.coco.json': COCO, 'test/_annotations.coco.json': COCO}, ('coco', ('test', 'train'))),
    ({'boxes.csv': 'filename,xmin,ymin,xmax,ymax,class\n'}, ('csv', ('boxes',))),
    ({'train.csv': 'a.jpg,1,2,3,4,cat\n', 'predictions.csv': 'a.jpg,1,2,3,4,0.9\n', 'notes.csv': 'a,b\n'},
     ('csv', ('train',))),
    ({'train.csv': 'a.jpg,NA,NA,NA,NA,NA\nb.jpg,1,2,3,4,cat\n'}, ('csv', ('train',))),
    ({'data.yaml': 'train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnames: [cat]\n',
      'train/images/a.jpg': '', 'valid/images/b.jpg': ''}, ('yolo', ('val', 'train'))),           # Roboflow, no test
    ({'images/train/a.jpg': '', 'labels/train/a.txt': '0 .5 .5 .1 .1', 'classes.txt': 'cat'}, ('yolo', ('train',))),
    ({'Train/images/a.jpg': '', 'Train/labels/a.txt': '0 .5 .5 .1 .1', 'Test/b.jpg': '',
      'Test/b.txt': ''}, ('yolo', ('Test', 'Train'))),
    ({'images/trainval/a.jpg': '', 'labels/trainval/a.txt': LABEL, 'images/test/b.jpg': '', 'labels/test/b.txt': LABEL},
     ('yolo', ('test', 'trainval'))),
    ({'images/cats/a.jpg': '', 'labels/cats/a.txt': LABEL}, ('yolo', ('.',))),
    ({'train/b/a.jpg': '', 'train/b/a.xml': XML, 'val/c.jpg': '', 'val/c.xml': XML}, ('PascalVOC', ('train', 'val'))),
    ({'train/b/a.jpg': '', 'train/b/a.xml': XML}, ('PascalVOC', ('train',))),
    ({'train/images/a.jpg': '', 'train/labels/a.txt': LABEL, 'train/old/a.jpg': '', 'train/old/a.xml': XML},
     ('yolo', ('train',))),
    ({'a.jpg': '', 'a.txt': '0 .5 .5 .1 .1', 'classes.txt': 'cat'}, ('yolo', ('.',))),
    ({'obj/a.jpg': '', 'obj/a.txt': LABEL, 'obj/b.jpg': '', 'obj/b.txt': LABEL, 'train.txt': 'data/obj/a.jpg\n',
      'valid.txt': 'data/obj/b.jpg\n', 'obj.names': 'cat'}, ('yolo', ('train', 'valid'))),         # Darknet, CVAT
    ({'data.yaml': 'names: [cat]', 'all/a.jpg': '', 'all/a.txt': LABEL, 'train.txt': 'all/a.jpg\n',
      'test.txt': 'no list of pictures'}, ('yolo', ('train',))),
    ({'train.jpg': '', 'train.txt': LABEL, 'classes.txt': 'cat'}, ('yolo', ('.',))),
])
def test_format_and_sets_of_a_folder_are_found(folder, files, expected):
    assert tuple(find_dataset(folder(files))) == expected


@pytest.mark.parametrize('files', [
    {'data.yaml': 'train: images/train\nval: images/val\ntest: [images/test, images/more]\nnames: [cat]\n'}, {}])
def test_a_set_of_pictures_to_detect_on_is_left_out_where_others_have_labels(folder, files, caplog):
    made = folder({'images/train/a.jpg': '', 'labels/train/a.txt': '', 'images/val/b.jpg': '', 'labels/val/b.txt': '',
                   'images/test/c.jpg': '', 'images/more/d.jpg': '', **files})
    assert set(find_dataset(made).image_sets) == {'train', 'val'}
    assert caplog.messages[-1] == '%s: none of the images of test has labels: this set is left out' % made


@pytest.mark.parametrize('files', [
    {'train.csv': 'a.jpg,1,2,3,4,cat\n', 'more.csv': 'a.jpg,1,2,3,4,cat\n'},
    {'train/a.xml': XML, 'train/a.jpg': '', 'more/b.xml': XML, 'more/b.jpg': ''},
    {'images/train/a.jpg': '', 'labels/train/a.txt': LABEL, 'images/more/b.jpg': '', 'labels/more/b.txt': LABEL},
    {'ImageSets/Main/train.txt': 'a', 'ImageSets/Main/more.txt': 'b', 'Annotations/a.xml': XML}])
def test_what_is_left_out_beside_the_sets_is_told(folder, files, caplog):
    made = folder(files)
    assert find_dataset(made).image_sets == ('train',)
    assert caplog.messages == ['%s: more: not among the sets, which are train' % made]


@pytest.mark.parametrize('files', [
    {'train.csv': '', 'val.csv': 'a.jpg,1,2,3,4,cat\n'},
    {'a.jpg': '', 'a.txt': '0 0.5 0.5 1 1', 'train.txt': '', 'val.txt': 'a.jpg', 'obj.names': 'cat'}])
def test_a_list_that_may_not_be_read_is_told_and_not_left_out(folder, files, monkeypatch):
    made = folder(files)

    def forbid(path, *others, **how):       # root may read all of them
        if os.path.basename(path).startswith('train.'):
            raise PermissionError(errno.EACCES, 'Permission denied', path)
        return open(path, *others, **how)
    for module in csv_list, dataset_files:
        monkeypatch.setattr(module, 'open', forbid, raising=False)
    with pytest.raises(DatasetError, match='train.*Permission denied'):
        find_dataset(made)


def test_folders_of_sets_that_are_none_beside_pictures_are_told(folder, caplog):
    made = folder({name: XML if name.endswith('xml') else '' for name in (
        'a.xml', 'a.jpg', 'train/b.xml', 'train/b.jpg', 'old/c.xml', 'old/c.jpg')})
    assert find_dataset(made).image_sets == ('.',)
    assert caplog.messages == ['%s: pictures lie in the folder itself, so that all are one set, those of train too'
                               % made]


def test_folders_of_sets_within_the_folder_of_pictures_are_told(folder, caplog):
    made = folder({name: XML if name.endswith('xml') else '' for name in (
        'annotations/train/a.xml', 'images/train/a.jpg', 'annotations/test/b.xml', 'images/test/b.jpg')})
    assert find_dataset(made).image_sets == ('.',)
    assert caplog.messages == ['%s: there are no lists in ImageSets/Main, so that all are one set, those of test, '
                               'train too' % made]


@pytest.mark.parametrize('place', ['', 'ImageSets/'])
def test_lists_of_sets_elsewhere_than_they_are_read_are_told(folder, place, caplog):
    made = folder({'Annotations/a.xml': XML, 'JPEGImages/a.jpg': '', place + 'train.txt': 'a', 'README.txt': ''})
    assert find_dataset(made).image_sets == ('.',)
    assert caplog.messages == ['%s: there are no lists in ImageSets/Main, so that all are one set; lists elsewhere do '
                               'not count: %strain.txt' % (made, place)]


def test_hidden_files_are_no_annotations(folder):
    with pytest.raises(DatasetError, match='found no annotations'):
        find_dataset(folder({'._a.xml': XML, '.b/train.csv': 'a.jpg,1,2,3,4,cat\n', 'a.jpg': ''}))


def test_a_folder_that_is_not_there_and_one_without_annotations_are_told(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match='there is no such folder'):
        find_dataset(tmp_path / 'no')
    with pytest.raises(DatasetError, match='Expected XML files'):
        find_dataset(folder({'a.jpg': ''}))


@pytest.mark.parametrize('files, reason', [
    ({'train.csv': 'image,x,y,w,h,class\n'}, r'train\.csv: line 1: names the columns .* lacks x1, y1, x2, y2'),
    ({'train.json': '[{"score": 1}]'}, r'train\.json: .*found a list: this is the json of another tool'),
    ({'train/_annotations.createml.json': '[]', 'train/a.jpg': ''}, r'createml\.json: .*Export the data as COCO'),
    ({'annotations.xml': '<annotations/>', 'images/a.jpg': ''}, r'xml: .* found <annotations> \(of CVAT\?\)'),
    ({'annots/a.xml': XML, 'images/a.jpg': ''}, r'a\.xml is there: expected it beside its picture, or in'),
    ({'a.xml': XML, 'a.gif': ''}, r'a\.xml is there: expected pictures \.jpg \.jpeg .* with it'),
    ({'data.csv': '0,a.jpg,1,2,3,4,cat\n', 'a.jpg': ''}, r'data\.csv is there: expected lines .image,x1'),
    ({'boxes/a.txt': LABEL, 'images/a.jpg': '', 'README.txt': ''}, r'a\.txt is there: expected the labels of'),
    ({'label_2/a.txt': 'Car 0 0 -1.5 58 17 61 20 1.6 1.6 3.6 -0.6 1.7 46 -1.5', 'image_2/a.jpg': ''},      # KITTI
     r"a\.txt: line 1: expected 'class cx cy w h', .*, found 'Car 0 0 -1\.5"),
    ({'labels/a.jpg.txt': LABEL, 'images/a.jpg': ''}, r'a\.jpg\.txt is there: expected the labels of a\.jpg in a\.txt'),
    ({'mine/set/Annotations/a.xml': XML, 'mine/set/images/a.jpg': ''}, r'some in .*mine.set: give that folder$'),
    ({'images/a/x.xml': XML, 'images/a/x.jpg': '', 'images/b/y.xml': XML, 'images/b/y.jpg': ''},
     r'some in .*images: give that folder$'),
    ({'train/a.json': COCO, 'val/b.json': COCO}, r'some in .*train: give that folder, or put the sets \(train, val\)'),
    ({'set/data.yaml': 'train: trian\nnames: [cat]', 'set/train/a.jpg': ''}, r'some in .*set: give that folder$')])
def test_why_a_list_was_not_taken_is_told_where_nothing_was_found(folder, files, reason):
    with pytest.raises(DatasetError, match=r'found no annotations.*\. .*' + reason):
        find_dataset(folder(files))


def test_a_train_entry_that_is_not_there_is_an_error(folder):
    with pytest.raises(DatasetError, match="train: there is no folder or list of images 'images/trian'"):
        find_dataset(folder({'data.yaml': 'train: images/trian\nnames: [cat]\n', 'images/train/a.jpg': ''}))


@pytest.mark.parametrize('name, role', [('train', 'train'), ('valid', 'val'), ('2007_test', 'test'),
                                        ('val2017', 'val'), ('Train', 'train'), ('Validation', 'val'),
                                        ('test_labels', 'test'), ('train_set', 'train'), ('TestSet', 'test'),
                                        ('val-images', 'val'), ('test data', 'test'), ('trainval', None),
                                        ('dataset', None), ('my_labels', None), ('.', None)])
def test_sets_have_roles_by_the_names_that_tools_give(name, role):
    assert role_of(name) == role
