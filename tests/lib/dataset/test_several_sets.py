"""Several image sets as one."""
import cv2
import numpy as np
import pytest

from lib.dataset import load_gt_roidb, load_imdbs, published_classes
from lib.errors import DatasetError

ANNOTATION = ('<annotation><size><width>40</width><height>30</height></size><object><name>cat</name>'
              '<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>11</xmax><ymax>22</ymax></bndbox></object></annotation>')


@pytest.fixture
def folder(tmp_path):
    """A data set in the layout of VOC with the image sets a, of the images a1 and a2, and b, of b1."""
    for name in ('Annotations', 'ImageSets/Main', 'JPEGImages'):
        (tmp_path / name).mkdir(parents=True)
    for name in ('a1', 'a2', 'b1'):
        (tmp_path / 'Annotations' / (name + '.xml')).write_text(ANNOTATION)
        cv2.imwrite(str(tmp_path / 'JPEGImages' / (name + '.png')), np.zeros((30, 40, 3), dtype=np.uint8))
    (tmp_path / 'ImageSets' / 'Main' / 'a.txt').write_text('a1\na2\n')
    (tmp_path / 'ImageSets' / 'Main' / 'b.txt').write_text('b1\n')
    return str(tmp_path)


def test_the_mirror_images_of_a_set_follow_it_and_then_comes_the_next_set(folder):
    roidb, imdbs = load_gt_roidb('PascalVOC', 'a + b', '', folder, flip=True)
    assert [(entry['index'], entry['flipped']) for entry in roidb] == [
        ('a1', False), ('a2', False), ('a1', True), ('a2', True), ('b1', False), ('b1', True)]
    assert [imdb.image_set for imdb in imdbs] == ['a', 'b']


def test_without_mirror_images_each_image_comes_once(folder):
    roidb, _ = load_gt_roidb('PascalVOC', 'a+b', '', folder, classes=['dog', 'cat'])
    assert [entry['index'] for entry in roidb] == ['a1', 'a2', 'b1']
    assert roidb[0]['gt_classes'].tolist() == [2]


def test_sets_of_different_classes_cannot_be_joined(folder, monkeypatch):
    import lib.dataset as load_data
    names = iter([['cat'], ['dog']])
    make_dataset = load_data.make_dataset
    monkeypatch.setattr(load_data, 'make_dataset', lambda *args, **options: make_dataset(
        *args, classes=next(names), on_unknown_class='ignore'))
    with pytest.raises(DatasetError, match=r"_a and .*_b differ in their classes: \('cat',\) and \('dog',\)"):
        load_imdbs('PascalVOC', 'a+b', '', folder)


@pytest.mark.parametrize('dataset, image_sets, count, first, last', [
    ('PascalVOC', '2007_trainval', 20, 'aeroplane', 'tvmonitor'),
    ('PascalVOC', '2007_trainval+2012_trainval', 20, 'aeroplane', 'tvmonitor'),
    ('coco', 'train2014+valminusminival2014', 80, 'person', 'toothbrush'),
    ('coco', 'test-dev2015', 80, 'person', 'toothbrush'),
])
def test_published_sets_have_their_names(dataset, image_sets, count, first, last):
    names = published_classes(dataset, image_sets)
    assert (len(names), len(set(names)), names[0], names[-1]) == (count, count, first, last)


@pytest.mark.parametrize('dataset, image_sets', [('PascalVOC', 'train'), ('PascalVOC', '2007_trainval+mine'),
                                                 ('coco', 'train'), ('csv', '2007_trainval'), ('yolo', 'train2017')])
def test_own_sets_have_none(dataset, image_sets):
    assert published_classes(dataset, image_sets) == ()
