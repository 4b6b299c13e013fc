"""Data sets in the layout of VOC: what is read, what is dropped, what is refused."""
import json
import logging

import numpy as np
import pytest

from lib.dataset import make_dataset, read_annotated
from lib.dataset.find import find_dataset
from lib.dataset.imdb import append_flipped_images, filter_roidb
from lib.dataset.voc import VOC_CLASSES
from lib.dataset.voc_files import find_layout
from lib.errors import DatasetError
from tests.lib.dataset.conftest import annotation_text, write_files


def open_set(voc, image_set='train', **options):
    return make_dataset('PascalVOC', image_set, str(voc.folder), **options)


def test_boxes_are_counted_from_zero(voc):
    entry, = open_set(voc.add('a', [('cat', 1, 2, 11, 22)])).gt_roidb()
    np.testing.assert_array_equal(entry['boxes'], [[0, 1, 10, 21]])
    assert entry['boxes'].dtype == np.float32 and entry['gt_classes'].dtype == np.int32
    assert (entry['height'], entry['width'], entry['index'], entry['flipped']) == (30, 40, 'a', False)
    assert entry['image'] == str(voc.folder / 'JPEGImages' / 'a.jpg')


def test_an_image_without_objects_has_an_entry_without_boxes(voc):
    voc.add('a', [('cat', 1, 2, 11, 22)]).add('b')
    entry = open_set(voc).gt_roidb()[1]
    assert entry['boxes'].shape == (0, 4) and entry['gt_classes'].shape == (0,)


def test_classes_of_own_data_come_from_all_annotations_and_are_the_same_for_each_image_set(voc):
    voc.add('a', [('dog', 1, 2, 11, 22)]).add('b', [('cat', 1, 2, 11, 22)])
    voc.list_images('test', ['b'])
    assert open_set(voc).classes == open_set(voc, 'test').classes == ('__background__', 'cat', 'dog')
    assert open_set(voc, 'test').gt_roidb()[0]['gt_classes'].tolist() == [1]


def test_sets_in_a_folder_have_the_same_classes_and_their_lists_count(voc, tmp_path):
    voc.add('a', [('dog', 1, 2, 11, 22)]).add('b', [('cat', 1, 2, 11, 22)])
    (voc.folder / 'ImageSets' / 'Main' / 'train.txt').unlink()
    (voc.folder / 'ImageSets' / 'Main' / 'day').mkdir()
    voc.list_images('day/train', ['a'])
    voc.list_images('day/val', ['b'])
    side_by_side = write_files(tmp_path / 'flat', {
        'day/%s/a.%s' % (name, end): annotation_text([(label, 2, 3, 11, 12)]) if end == 'xml' else None
        for name, label in (('train', 'dog'), ('val', 'cat')) for end in ('jpg', 'xml')})
    for folder in (str(voc.folder), str(side_by_side)):
        for name in ('day/train', 'day/val'):
            data = read_annotated('PascalVOC', name, folder)
            assert data.classes == ('cat', 'dog') and not data.faults
    assert find_dataset(str(voc.folder)).image_sets == ('day/train', 'day/val')


def test_classes_can_be_given_as_a_list_or_a_file(voc, tmp_path):
    voc.add('a', [('cat', 1, 2, 11, 22)])
    (tmp_path / 'names.txt').write_text('dog\n\ncat\n')
    for classes in (['dog', 'cat'], ['__background__', 'dog', 'cat'], str(tmp_path / 'names.txt')):
        imdb = open_set(voc, classes=classes)
        assert imdb.classes == ('__background__', 'dog', 'cat') and imdb.num_classes == 3
        assert imdb.gt_roidb()[0]['gt_classes'].tolist() == [2]


@pytest.mark.parametrize('classes', [[], ['cat', 'cat'], ['cat', '']])
def test_no_class_or_a_doubled_or_nameless_one_is_refused(voc, classes):
    with pytest.raises(DatasetError, match='class names'):
        open_set(voc.add('a'), classes=classes)


def test_the_background_among_the_classes_of_a_file_is_told_with_the_file(voc, tmp_path):
    names = tmp_path / 'names.txt'
    names.write_text('cat\n__background__\n')
    with pytest.raises(DatasetError, match=r'%s: .*found __background__ among them.*only be the first' % names):
        open_set(voc.add('a'), classes=str(names))


def test_the_layout_of_the_development_kit_has_the_classes_of_voc(voc2007):
    voc2007.add('000001', [('Person', 1, 2, 11, 22)])
    imdb = make_dataset('PascalVOC', '2007_train', str(voc2007.folder.parent))
    assert imdb.classes[1:] == VOC_CLASSES and imdb.name == 'VOC2007_train'
    assert imdb.gt_roidb()[0]['gt_classes'].tolist() == [15]      # the 15th name, in any case
    assert imdb.use_07_metric


def test_the_exact_label_comes_before_the_one_in_another_case(voc):
    voc.add('a', [('Cat', 1, 2, 11, 22), ('cat', 1, 2, 11, 22)])
    assert open_set(voc).gt_roidb()[0]['gt_classes'].tolist() == [1, 2]


@pytest.mark.parametrize('extension', ['.jpeg', '.png', '.bmp', '.tif', '.webp', '.JPG', '.Png'])
def test_an_image_may_have_any_extension_in_any_case(voc, extension):
    imdb = open_set(voc.add('a', [('cat', 1, 2, 11, 22)], extension=extension))
    assert imdb.gt_roidb()[0]['image'].endswith('a' + extension)


def test_images_may_differ_in_the_case_of_their_names_alone(voc):
    voc.add('a', [('cat', 1, 2, 11, 22)]).add('A')
    assert [entry['image'][-5:] for entry in open_set(voc).gt_roidb()] == ['a.jpg', 'A.jpg']


def test_an_image_may_have_the_name_that_its_annotation_gives(voc):
    voc.add('a', [('cat', 1, 2, 11, 22)], filename='C:\\photos\\IMG 7.JPG')
    (voc.folder / 'JPEGImages' / 'a.jpg').rename(voc.folder / 'JPEGImages' / 'IMG 7.JPG')
    assert open_set(voc).gt_roidb()[0]['image'].endswith('IMG 7.JPG')


def test_difficult_objects_are_left_out_of_training_unless_asked_for(voc):
    voc.add('a', [('cat', 1, 2, 11, 22), ('cat', 5, 6, 15, 26, 1)])
    assert len(open_set(voc).gt_roidb()[0]['boxes']) == 1
    assert len(open_set(voc, use_difficult=True).gt_roidb()[0]['boxes']) == 2


def test_a_list_for_one_class_may_carry_flags(voc):
    voc.add('a', [('cat', 1, 2, 11, 22)]).add('b 1').add('c')
    voc.list_images('cat_train', ['a  1', 'b 1\t-1', 'c'])
    assert open_set(voc, 'cat_train').image_set_index == ['a', 'b 1', 'c']


def test_the_number_at_the_end_of_an_images_name_is_no_flag(voc):
    voc.add('photo 1', [('cat', 1, 2, 11, 22)]).add('photo 2')
    assert open_set(voc).image_set_index == ['photo 1', 'photo 2']


def test_class_names_of_own_data_come_from_classes_txt_where_it_is(voc):
    voc.add('a', [('cat', 1, 2, 11, 22)])
    (voc.folder / 'classes.txt').write_text('dog\ncat\n')
    assert open_set(voc).classes[1:] == ('dog', 'cat')


def test_an_image_listed_twice_is_taken_once(voc, caplog):
    voc.add('a', [('cat', 1, 2, 11, 22)])
    voc.list_images('train', ['a', 'a'])
    assert open_set(voc).image_set_index == ['a']
    assert 'train.txt: lists a 2 times; it is taken once' in caplog.text


def test_boxes_in_the_annotation_may_be_fractions(voc):
    voc.add('a', [('cat', 1.5, 2.25, 11, 22)])
    np.testing.assert_array_equal(open_set(voc).gt_roidb()[0]['boxes'], [[0.5, 1.25, 10, 21]])


def test_a_box_that_sticks_out_is_clipped_and_a_warning_names_file_and_box(voc, caplog):
    # Counted from 1: x 0 to 50 in an image of 40; counted from 0: -1 to 49, inside 0 to 39.
    entry, = open_set(voc.add('a', [('cat', 0, 3, 50, 9)])).gt_roidb()
    assert entry['boxes'].tolist() == [[0, 2, 39, 8]]
    assert 'a.xml: object 0 (cat), box (-1, 2, 49, 8) in an image of 40 x 30 pixels' in caplog.text


@pytest.mark.parametrize('box', [(20, 5, 10, 9), (5, 9, 10, 5), (41, 1, 60, 9), (5, 31, 9, 40), (5, 5, 5, 20),
                                 (-9, 1, 0, 9)])
def test_a_box_inverted_or_outside_or_a_pixel_wide_is_dropped_with_a_warning(voc, caplog, box):
    voc.add('a', [('cat',) + box, ('cat', 1, 2, 11, 22)])
    entry, = append_flipped_images(open_set(voc).gt_roidb())[:1]
    assert len(entry['boxes']) == len(entry['gt_classes']) == 1
    message, = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    expected = 'a.xml: object 0 (cat), box (%g, %g, %g, %g)' % tuple(np.subtract(box, 1))
    assert expected in message and 'dropped' in message


def test_an_unknown_class_raises_an_error_that_names_the_file_the_label_and_the_known_ones(voc):
    voc.add('a', [('cow', 1, 2, 11, 22)])
    with pytest.raises(DatasetError, match=r"a\.xml: object 0 \(cow\): unknown class 'cow'; known are cat, dog"):
        open_set(voc, classes=['cat', 'dog']).gt_roidb()


def test_the_background_as_a_label_is_not_to_be_added_to_the_classes(voc):
    voc.add('a', [('__background__', 1, 2, 11, 22)])
    with pytest.raises(DatasetError, match="class '__background__'; known are cat. Correct the label, or leave such"):
        open_set(voc, classes=['cat']).gt_roidb()


def test_objects_of_unknown_classes_can_be_left_out(voc):
    voc.add('a', [('cow', 1, 2, 11, 22), ('cat', 1, 2, 11, 22)])
    imdb = open_set(voc, classes=['cat'], on_unknown_class='ignore')
    assert imdb.gt_roidb()[0]['gt_classes'].tolist() == [1]
    assert list(imdb.ground_truth()) == ['cat']


def test_a_word_other_than_error_and_ignore_for_unknown_classes_is_refused(voc):
    with pytest.raises(DatasetError, match="on_unknown_class must be 'error' or 'ignore', not 'skip'"):
        open_set(voc.add('a', [('cat', 1, 2, 11, 22)]), on_unknown_class='skip')


def test_without_size_in_the_annotation_the_image_tells_it(voc):
    voc.add('a', [('cat', 1, 2, 11, 22)], size=None).add('b', size=(0, 0))
    assert [(entry['width'], entry['height']) for entry in open_set(voc).gt_roidb()] == [(40, 30), (40, 30)]


def test_without_size_in_the_annotation_and_a_readable_image_the_error_names_the_annotation(voc):
    voc.add('a', [('cat', 1, 2, 11, 22)], size=None)
    (voc.folder / 'JPEGImages' / 'a.jpg').write_bytes(b'no image')
    with pytest.raises(DatasetError, match=r'a\.xml: has no <size>.*a\.jpg'):
        open_set(voc).gt_roidb()


def test_a_missing_image_is_named(voc):
    voc.add('a', [('cat', 1, 2, 11, 22)])
    (voc.folder / 'JPEGImages' / 'a.jpg').unlink()
    with pytest.raises(FileNotFoundError, match='JPEGImages/a: there is no image of this name.* Add it, or take its'):
        open_set(voc).gt_roidb()


def test_a_missing_annotation_is_named(voc):
    voc.add('a', [('cat', 1, 2, 11, 22)])
    voc.list_images('train', ['a', 'b'])
    with pytest.raises(FileNotFoundError, match=r'b\.xml'):
        open_set(voc).gt_roidb()


def test_an_empty_list_of_images_is_refused(voc):
    voc.add('a', [('cat', 1, 2, 11, 22)])
    voc.list_images('train', [' '])
    with pytest.raises(DatasetError, match=r'train\.txt: expected the name of an image per line, found none. .*delete'):
        open_set(voc)


def test_a_missing_list_of_images_is_named(voc):
    with pytest.raises(FileNotFoundError, match=r'ImageSets/Main/val\.txt'):
        open_set(voc.add('a', [('cat', 1, 2, 11, 22)]), 'val')


def test_a_folder_without_the_layout_is_refused_with_what_was_expected(tmp_path):
    with pytest.raises(FileNotFoundError, match='VOC2007 and .*no folder ImageSets/Main for the image set .2007_train'):
        make_dataset('PascalVOC', '2007_train', str(tmp_path))


def test_annotations_without_any_object_have_no_classes(voc):
    with pytest.raises(DatasetError, match='Annotations: expected one or .* class names, found none. Annotate objects'):
        open_set(voc.add('a'))


@pytest.mark.parametrize('name', ['../secret', '/etc/passwd', 'x/../../secret'])
def test_a_name_that_leads_out_of_the_folder_is_refused(voc, name):
    voc.add('a', [('cat', 1, 2, 11, 22)])
    voc.list_images('train', ['a', name])
    with pytest.raises(DatasetError, match='leads out of this folder'):
        open_set(voc).gt_roidb()
    with pytest.raises(DatasetError, match='leads out of this folder'):
        open_set(voc, name)


def test_a_changed_annotation_is_seen_when_the_set_is_opened_again(voc):
    assert len(open_set(voc.add('a', [('cat', 1, 2, 11, 22)])).gt_roidb()[0]['boxes']) == 1
    voc.add('a', [('cat', 1, 2, 11, 22), ('cat', 3, 4, 13, 24)])
    assert len(open_set(voc).gt_roidb()[0]['boxes']) == 2
    assert sorted(path.name for path in voc.folder.iterdir()) == ['Annotations', 'ImageSets', 'JPEGImages']


def test_images_without_annotations_can_be_tested_and_their_detections_written(voc, tmp_path):
    voc.add('a')
    (voc.folder / 'Annotations' / 'a.xml').unlink()
    imdb = open_set(voc, classes=['cat'])
    entry, = imdb.gt_roidb()
    assert (entry['width'], entry['height'], len(entry['boxes'])) == (40, 30, 0)
    evaluation = imdb.evaluate_detections([[[]], [np.array([[1, 2, 3, 4, 0.5]])]], str(tmp_path / 'out'))
    assert np.isnan(evaluation.score) and 'no annotations' in evaluation.table
    written = tmp_path / 'out' / 'results' / 'pets' / 'Main' / 'comp4_det_train_cat.txt'
    assert written.read_text() == 'a 0.5 2.0 3.0 4.0 5.0\n'


def test_perfect_detections_have_a_score_of_one_and_can_be_evaluated_again_from_files(voc, tmp_path):
    voc.add('a', [('cat', 1, 2, 11, 22), ('dog', 5, 6, 15, 26)])
    voc.add('b', [('dog', 3, 3, 30, 30), ('dog', 7, 7, 9, 9, 1)])
    imdb = open_set(voc)
    all_boxes = [[[], []], [np.array([[0, 1, 10, 21, 0.9]]), np.zeros((0, 5))],
                 [np.array([[4, 5, 14, 25, 0.8]]), np.array([[2, 2, 29, 29, 0.7]])]]
    evaluation = imdb.evaluate_detections(all_boxes, str(tmp_path))
    assert evaluation.score == evaluation.metrics['mAP@0.5'] == evaluation.metrics['AP@0.7/dog'] == 1
    assert imdb.evaluate_files(str(tmp_path)) == evaluation


def test_detections_for_another_number_of_classes_or_images_are_refused(voc):
    imdb = open_set(voc.add('a', [('cat', 1, 2, 11, 22)]))
    with pytest.raises(DatasetError, match='expected detections of 2 classes and 1 images, found 3 classes and 1'):
        imdb.evaluate_detections([[[]], [[]], [[]]])
    with pytest.raises(DatasetError, match='found 2 classes and 2 images'):
        imdb.evaluate_detections([[[]], [[], []]])


def test_an_unknown_data_set_is_refused_with_the_known_ones():
    with pytest.raises(DatasetError, match="dataset.dataset: expected one of PascalVOC, coco, .* found 'voc'"):
        make_dataset('voc', 'train', '')


def test_the_objects_and_their_mirror_images_equal_the_release(golden, voc2007):
    vectors = json.loads((golden / 'voc_eval.json').read_text())
    for name in vectors['ids']:
        objects = [(item['name'],) + tuple(item['bbox']) + (item['difficult'],) for item in vectors['gt'][name]]
        voc2007.add(name, objects, size=(500, 375))
    roidb = append_flipped_images(make_dataset('PascalVOC', '2007_train', str(voc2007.folder.parent)).gt_roidb())
    expected = vectors['gt_roidb_with_flips']
    assert len(roidb) == len(expected)
    for entry, wanted in zip(roidb, expected):
        np.testing.assert_array_equal(entry['boxes'], np.reshape(wanted['boxes'], (-1, 4)))
        for key in ('gt_classes', 'flipped', 'height', 'width'):
            assert np.array_equal(entry[key], wanted[key])
        assert entry['image'].endswith(wanted['image'])
    assert len(filter_roidb(roidb, keep_empty=False)) == vectors['filter_roidb_kept']
    assert len(filter_roidb(roidb)) == len(expected)


def test_the_blood_cells_load_without_their_two_boxes_of_one_pixel(real_data, caplog):
    imdb = make_dataset('PascalVOC', 'trainval', str(real_data / 'bccd'))
    roidb = imdb.gt_roidb()
    assert imdb.classes == ('__background__', 'Platelets', 'RBC', 'WBC') and imdb.num_images == 292
    # 3,350 red cells are annotated; those of BloodImage_00338 (504, 337) and _00343 (181, 329) are single pixels.
    classes = np.concatenate([entry['gt_classes'] for entry in roidb])
    assert np.bincount(classes).tolist() == [0, 292, 3348, 301]
    assert [record.getMessage().split(',')[0].split('/')[-1] for record in caplog.records] == [
        'BloodImage_00338.xml: object 12 (RBC)', 'BloodImage_00343.xml: object 3 (RBC)']


def test_a_size_that_no_image_has_counts_as_not_given(voc):
    entry, = open_set(voc.add('a', [('cat', 1, 2, 11, 22)], size=(10 ** 9, 30))).gt_roidb()
    assert (entry['width'], entry['height']) == (40, 30)


def test_a_missing_folder_of_annotations_is_named(voc):
    (voc.folder / 'Annotations').rmdir()
    voc.list_images('train', ['a'])
    with pytest.raises(FileNotFoundError, match='Annotations: there is no such folder'):
        open_set(voc)


def test_a_list_of_images_that_is_no_text_is_refused(voc):
    voc.add('a', [('cat', 1, 2, 11, 22)])
    (voc.folder / 'ImageSets' / 'Main' / 'val.txt').write_bytes(b'\xff\xfe\x81')
    with pytest.raises(DatasetError,
                       match=r'val\.txt: expected the name of an image per line, in UTF-8, cannot be read'):
        open_set(voc, 'val')


def test_a_data_set_may_be_given_by_a_relative_path(voc, monkeypatch):
    voc.add('a', [('cat', 1, 2, 11, 22)])
    monkeypatch.chdir(voc.folder)
    imdb = make_dataset('PascalVOC', 'train', '.')
    assert imdb.name == 'pets_train' and len(imdb.gt_roidb()) == 1


def test_names_with_extensions_in_a_list_are_understood(voc):
    voc.add('a', [('cat', 1, 2, 30, 20)]).add('b.jpg', []).add('c')
    voc.list_images('val', ['a.JPG', 'b.jpg', 'c.png 1', 'nothing.jpg', 'd.xml'])
    assert find_layout('val', str(voc.folder)).index() == ['a', 'b.jpg', 'c', 'nothing.jpg', 'd.xml']
