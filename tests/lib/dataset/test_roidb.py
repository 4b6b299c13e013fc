"""Lists of images with their objects, of one image set and of several."""
import json

import cv2
import numpy as np
import pytest

from lib.dataset import load_gt_roidb, load_imdbs, make_dataset, published_classes, read_annotated
from lib.dataset.imdb import append_flipped_images, filter_roidb, flip_entry, make_entry
from lib.errors import DatasetError
from tests.lib.dataset.conftest import annotation_text, write_files


def entry(boxes=((2, 3, 10, 20),), classes=None, width=40, height=30):
    return make_entry('a.jpg', 'a', height, width, boxes, [1] * len(boxes) if classes is None else classes)


def test_an_entry_has_the_types_that_all_others_rely_on():
    made = entry()
    assert made['boxes'].dtype == np.float32 and made['gt_classes'].dtype == np.int32 and not made['flipped']
    assert entry(())['boxes'].shape == (0, 4)


def test_mirror_images_follow_their_originals():
    first, second, mirrored, empty = append_flipped_images([entry(), entry(())])
    # x1 = 40 - 1 - 10 = 29, x2 = 40 - 1 - 2 = 37.
    np.testing.assert_array_equal(mirrored['boxes'], [[29, 3, 37, 20]])
    assert (first['flipped'], second['flipped'], mirrored['flipped'], empty['flipped']) == (False, False, True, True)
    np.testing.assert_array_equal(first['boxes'], [[2, 3, 10, 20]])
    assert mirrored['image'] == 'a.jpg' and len(empty['boxes']) == 0


def test_mirroring_twice_changes_nothing():
    original = dict(entry([(0, 0, 39, 29), (2.5, 3, 10, 20)]), proposals=np.float32([[1, 2, 3, 4, 0.9]]))
    twice = flip_entry(flip_entry(original))
    for key in original:
        np.testing.assert_array_equal(twice[key], original[key])


def test_proposals_are_mirrored_with_their_scores_kept():
    mirrored = flip_entry(dict(entry(), proposals=np.float32([[0, 2, 9, 4, 0.5]])))
    np.testing.assert_array_equal(mirrored['proposals'], [[30, 2, 39, 4, 0.5]])


@pytest.mark.parametrize('box', [(10, 3, 2, 20), (2, 20, 10, 3), (np.nan, 3, 10, 20)])
@pytest.mark.parametrize('operation', [append_flipped_images, filter_roidb])
def test_a_box_that_ends_before_it_begins_is_named_with_its_image(operation, box):
    with pytest.raises(DatasetError, match=r'a\.jpg: box 1 is \(x1, y1, x2, y2\) = \(%g, %g, %g, %g\)' % box):
        operation([entry([(2, 3, 10, 20), box])])


def test_a_box_that_begins_at_the_border_can_be_mirrored():
    np.testing.assert_array_equal(flip_entry(entry([(0, 0, 39, 29)]))['boxes'], [[0, 0, 39, 29]])


def test_images_without_objects_stay_unless_they_shall_go():
    roidb = [entry(), entry(())]
    assert len(filter_roidb(roidb)) == 2
    assert filter_roidb(roidb, keep_empty=False) == roidb[:1]


@pytest.mark.parametrize('roidb', [[], [entry(())]])
def test_a_list_without_any_image_to_train_on_is_refused(roidb):
    with pytest.raises(DatasetError, match='nothing to train on: of %d images none has an object' % len(roidb)):
        filter_roidb(roidb, keep_empty=False)


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
    roidb, imdbs = load_gt_roidb('PascalVOC', 'a + b', folder, flip=True)
    assert [(entry['index'], entry['flipped']) for entry in roidb] == [
        ('a1', False), ('a2', False), ('a1', True), ('a2', True), ('b1', False), ('b1', True)]
    assert [imdb.image_set for imdb in imdbs] == ['a', 'b']


def test_without_mirror_images_each_image_comes_once(folder):
    roidb, _ = load_gt_roidb('PascalVOC', 'a+b', folder, classes=['dog', 'cat'])
    assert [entry['index'] for entry in roidb] == ['a1', 'a2', 'b1']
    assert roidb[0]['gt_classes'].tolist() == [2]


def test_a_set_that_is_named_twice_is_taken_twice_and_the_log_says_so(folder, caplog):
    roidb, _ = load_gt_roidb('PascalVOC', 'a+b+a', folder)
    assert [entry['index'] for entry in roidb] == ['a1', 'a2', 'b1', 'a1', 'a2']
    assert 'a+b+a: a set that is named twice is taken twice' in caplog.text


def test_sets_of_different_classes_cannot_be_joined(folder, monkeypatch):
    import lib.dataset as load_data
    names = iter([['cat'], ['dog']])
    make_dataset = load_data.make_dataset
    monkeypatch.setattr(load_data, 'make_dataset', lambda *args, **options: make_dataset(
        *args, classes=next(names), on_unknown_class='ignore'))
    with pytest.raises(DatasetError, match=r'differ in their classes: \w+_a: cat; \w+_b: dog\. Give those that'):
        load_imdbs('PascalVOC', 'a+b', folder)


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


def test_the_objects_of_a_set_are_held_once(folder):
    imdb = load_imdbs('PascalVOC', 'a', folder)[0]
    table = imdb.fitted.items
    assert len(table) == 2 and all(np.shares_memory(picture.items, table) for picture in imdb.data.pictures)
    assert np.concatenate([picture.items for picture in imdb.data.pictures]).tobytes() == table.tobytes()


@pytest.mark.parametrize('kind, name', [('PascalVOC', 'a.xml'), ('csv', 'train.csv'), ('coco', 'train.json')])
def test_the_results_of_a_set_in_a_folder_are_written(tmp_path, kind, name):
    text = {'a.xml': annotation_text([('cat', 2, 3, 11, 12)]), 'train.csv': 'day/train/a.jpg,1,2,10,11,cat\n',
            'train.json': json.dumps({'images': [{'id': 1, 'file_name': 'day/train/a.jpg'}], 'annotations': [
                {'image_id': 1, 'category_id': 1, 'bbox': [1, 2, 10, 10]}], 'categories': [{'id': 1, 'name': 'cat'}]})}
    folder = {'a.xml': 'day/train/'}.get(name, 'day/')
    write_files(tmp_path / 'pets', {folder + name: text[name], 'day/train/a.jpg': None})
    imdb = make_dataset(kind, 'day/train', str(tmp_path / 'pets'))
    found = imdb.evaluate_detections([[], [np.array([[1, 2, 10, 11, 0.5]])]], str(tmp_path / 'out'))
    assert found.score == pytest.approx(1) and imdb.name == 'pets_day_train'
    assert sum(path.is_file() for path in (tmp_path / 'out').rglob('*')) == 1


class Name(str):
    """The name of a class, which counts how often names are compared, and stays what it is."""

    compared = 0
    __hash__ = str.__hash__

    def __eq__(self, other):
        Name.compared += 1
        return str.__eq__(self, other)

    def __str__(self):
        return self

    def strip(self):
        return self


MANY = ['k%d' % number for number in range(2000)]       # as where the column of the classes is really one of numbers


@pytest.mark.parametrize('kind, files', [
    ('csv', {'train.csv': 'image,x1,y1,x2,y2,class\n' + ''.join('a.jpg,1,2,9,9,%s\n' % name for name in MANY)}),
    ('yolo', {'classes.txt': '\n'.join(MANY), 'a.txt': '0 .5 .5 .1 .1'}),
    ('coco', {'train.json': json.dumps({
        'images': [{'id': 1, 'file_name': 'a.jpg'}], 'annotations': [],
        'categories': [{'id': number, 'name': name} for number, name in enumerate(MANY)]})})],
    ids=['csv', 'yolo', 'coco'])
def test_of_very_many_classes_each_is_not_looked_for_among_all_of_them(tmp_path, monkeypatch, kind, files):
    write_files(tmp_path, dict(files, **{'a.jpg': None}))
    monkeypatch.setattr(Name, 'compared', 0)
    image_set = '.' if kind == 'yolo' else 'train'
    assert read_annotated(kind, image_set, str(tmp_path), classes=list(map(Name, MANY))).classes == tuple(MANY)
    assert len(MANY) < Name.compared < 20 * len(MANY)
