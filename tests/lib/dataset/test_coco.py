"""Data sets in COCO's format: objects, results, evaluation."""
import json
import re

import cv2
import numpy as np
import pytest

from lib.dataset import COCO_CLASSES, make_dataset, published_classes, read_annotated
from lib.dataset.box_rule import RELEASE
from lib.dataset.coco_eval import STATISTICS
from lib.dataset.coco_json import read_json
from lib.errors import DatasetError
from tests.lib.dataset.conftest import trained_on, write_files

CATEGORIES = [{'id': 18, 'name': 'dog'}, {'id': 3, 'name': 'cat'}]
IMAGE = {'id': 7, 'file_name': 'a.png', 'width': 40, 'height': 30}


def annotation(category=18, bbox=(1, 2, 10, 20), **fields):
    return dict({'image_id': 7, 'category_id': category, 'bbox': list(bbox)}, **fields)


@pytest.fixture
def write(tmp_path):
    """Writes annotations of one image of 40 x 30 pixels; returns the folder."""
    def write(annotations=(), path='annotations/instances_train.json', pictures='images/train', image=IMAGE, **lists):
        data = dict({'images': [image], 'annotations': annotations, 'categories': CATEGORIES}, **lists)
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(json.dumps({key: value for key, value in data.items() if value is not None}))
        (tmp_path / pictures).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / pictures / 'a.png'), np.zeros((30, 40, 3), dtype=np.uint8))
        return str(tmp_path)
    return write


def open_set(folder, image_set='train', **options):
    return make_dataset('coco', image_set, folder, **options)


def test_classes_follow_the_order_of_the_categories(write):
    imdb = open_set(write([annotation(3), annotation(18)]))
    assert imdb.classes == ('__background__', 'dog', 'cat')
    entry, = imdb.gt_roidb()
    assert entry['gt_classes'].tolist() == [2, 1] and entry['index'] == '7'
    assert entry['image'].endswith('images/train/a.png')


def test_a_box_keeps_its_fractions_and_ends_inside_the_image(write):
    # x2 = 1.5 + (10.25 - 1) = 10.75; y2 = min(30 - 1, 20 + (22 - 1)) = 29; -3 to 1 is 0 to 1.
    entry, = open_set(write([annotation(bbox=(1.5, 20, 10.25, 22)), annotation(bbox=(-3, 0, 5, 2))])).gt_roidb()
    assert entry['boxes'].tolist() == [[1.5, 20, 10.75, 29], [0, 0, 1, 1]]


def test_the_release_s_rule_moves_a_box_and_asks_for_an_area(write):
    # The corner (-3, 0) goes to (0, 0), the width of 5 stays; the second states no area.
    objects = [annotation(bbox=(-3, 0, 5, 0.5)), annotation(area=0), annotation(bbox=(41, 0, 5, 5))]
    for item in objects:
        item.setdefault('area', 2.5)
    entry, = open_set(write(objects), box_rule=RELEASE).gt_roidb()
    assert entry['boxes'].tolist() == [[0, 0, 4, 0]]


def test_objects_of_other_categories_are_left_out_and_counted(write, caplog):
    entry, = open_set(write([annotation(3), annotation(18), annotation(18)]), classes=['cat']).gt_roidb()
    assert entry['gt_classes'].tolist() == [1]
    assert 'instances_train.json: 2 objects of classes that are not used: dog (2): left out' in caplog.text


def test_flagged_objects_and_those_outside_are_left_out_and_a_stated_area_of_zero_means_nothing(write, caplog):
    objects = [annotation(iscrowd=1), annotation(area=0), annotation(bbox=(50, 2, 5, 5)), annotation(ignore=1),
               annotation(difficult=True)]
    entry, = open_set(write(objects)).gt_roidb()
    np.testing.assert_array_equal(entry['boxes'], [[1, 2, 10, 21]])
    assert 'instances_train.json: annotations[2] (dog), box (50, 2, 54, 6) in an image of 40 x 30' in caplog.text


@pytest.mark.parametrize('path, pictures', [('instances_train.json', 'train'), ('train.json', 'images'),
                                            ('train.json', '.'), ('annotations/train.json', 'images/train')])
def test_annotations_and_images_may_lie_in_several_places(write, path, pictures):
    assert open_set(write([annotation()], path, pictures)).gt_roidb()[0]['image'].endswith('a.png')


@pytest.mark.parametrize('kind, annotated', [('coco', {'val.json': json.dumps(
    {'images': [dict(IMAGE, file_name='a.jpg')], 'annotations': [annotation()], 'categories': CATEGORIES})}),
    ('csv', {'val.csv': 'a.jpg,1,2,10,21,dog\n'})])
def test_pictures_in_a_folder_of_the_own_name_come_before_those_of_another_name_of_the_set(tmp_path, kind, annotated):
    write_files(tmp_path, dict(annotated, **{'val/a.jpg': None, 'images/valid/a.jpg': None}))
    assert list(trained_on(kind, tmp_path, 'val')) == ['val/a.jpg']


@pytest.mark.parametrize('image_set, pictures', [('minival2014', 'val2014'), ('valminusminival2014', 'val2014'),
                                                 ('test-dev2017', 'test2017')])
def test_parts_of_an_image_set_have_their_images_in_the_folder_of_the_whole(write, image_set, pictures):
    folder = write([annotation()], 'annotations/instances_%s.json' % image_set, 'images/' + pictures)
    assert 'images/%s/a.png' % pictures in open_set(folder, image_set).gt_roidb()[0]['image']


def test_some_of_the_categories_can_be_chosen_in_any_order(write):
    imdb = open_set(write([annotation(3), annotation(18)]), classes=['cat'])
    assert imdb.classes == ('__background__', 'cat')
    assert imdb.gt_roidb()[0]['gt_classes'].tolist() == [1]
    assert open_set(write(), classes=['cat', 'dog']).category_ids == {'cat': 3, 'dog': 18}


def test_a_class_that_is_no_category_is_refused(write):
    with pytest.raises(DatasetError, match=r'instances_train\.json: no category cow; there are dog, cat'):
        open_set(write(), classes=['cat', 'cow'])


@pytest.mark.parametrize('size', [{}, {'width': 40}, {'width': 0, 'height': 30}, {'width': True, 'height': 30},
                                  {'width': 10 ** 400, 'height': 30}, {'width': '40', 'height': 30}])
def test_the_size_of_an_image_is_read_from_it_where_the_file_does_not_tell(write, size):
    entry, = open_set(write(image=dict(size, id=7, file_name='a.png'))).gt_roidb()
    assert (entry['width'], entry['height']) == (40, 30)


def test_test_images_without_annotations_are_written_not_evaluated(write, tmp_path):
    folder = write(None, 'annotations/image_info_test-dev2017.json', 'images/test2017')
    imdb = open_set(folder, 'test-dev2017')
    assert len(imdb.gt_roidb()[0]['boxes']) == 0
    evaluation = imdb.evaluate_detections([[[]], [np.array([[1, 2, 10, 21, 0.5]])], [[]]], folder)
    assert np.isnan(evaluation.score)
    results = json.loads((tmp_path / 'detections_test-dev2017_results.json').read_text())
    assert results == [{'image_id': 7, 'category_id': 18, 'bbox': [1, 2, 10, 20], 'score': 0.5}]


def test_results_for_a_file_without_categories_are_refused(write):
    imdb = open_set(write(categories=None), classes=['cat'])
    with pytest.raises(DatasetError, match='has no categories'):
        imdb.evaluate_detections([[[]], [[]]])


def test_perfect_detections_have_average_precision_one_and_absent_classes_none(write, tmp_path):
    imdb = open_set(write([annotation()]))
    evaluation = imdb.evaluate_detections([[[]], [np.array([[1, 2, 10, 21, 0.9]])], [[]]], str(tmp_path / 'out'))
    assert evaluation.score == pytest.approx(1) and evaluation.metrics['AP@0.5/dog'] == pytest.approx(1)
    assert np.isnan(evaluation.metrics['AP/cat']) and np.isnan(evaluation.metrics['AP_large'])
    assert evaluation.table.splitlines()[1] == 'dog     1.0000   1.0000'
    np.testing.assert_equal(imdb.evaluate_files(str(tmp_path / 'out')).metrics, evaluation.metrics)


@pytest.mark.parametrize('image_set, count, official', [
    ('val2017', 80, True), ('trainval2014', 80, True), ('val2017', 79, False), ('val2016', 80, False),
    ('myval2017', 80, False)])
def test_in_coco_s_own_sets_with_all_categories_objects_count_as_written(write, image_set, count, official):
    categories = [{'id': number, 'name': name} for number, name in enumerate(COCO_CLASSES[:count], 1)]
    folder = write([annotation(1, (-5, 2, 10, 10))], image_set + '.json', 'images', categories=categories)
    counted = open_set(folder, image_set).counted_items()
    assert counted.boxes.tolist() == [[-5 if official else 0, 2, 4, 11]]
    assert bool(published_classes('coco', image_set)) == image_set.startswith(('val2017', 'trainval2014'))


def test_no_detections_have_average_precision_zero(write):
    assert open_set(write([annotation()])).evaluate_detections([[[]]] * 3).score == 0


def test_nothing_is_printed(write, capsys):
    open_set(write([annotation()])).evaluate_detections([[[]], [np.array([[1, 2, 10, 21, 0.9]])], [[]]])
    assert capsys.readouterr() == ('', '')


def test_detections_for_another_set_are_refused(write):
    with pytest.raises(DatasetError, match='expected detections of 3 classes and 1 images, found 2 classes and 1'):
        open_set(write()).evaluate_detections([[[]], [[]]])


@pytest.mark.parametrize('all_boxes, found', [
    ({'a': 1}, 'a list for each class of an array for each image, found a dict'),
    (np.zeros((3, 1, 5)), 'a list for each class of an array for each image, found a ndarray'),
    ([[], 1, 2], 'a list for each class of an array for each image, found other lists'),
    ([[], [np.zeros((5, 4))], [[]]], r'an array \(n, 5\) of x1, y1, x2, y2 and score, found one of shape \(5, 4\)'),
    ([[], [np.zeros(5)], [[]]], r'found one of shape \(5,\)')])
def test_what_is_no_list_of_detections_is_refused(write, all_boxes, found):
    with pytest.raises(DatasetError, match=found):
        open_set(write()).evaluate_detections(all_boxes)


@pytest.mark.parametrize('lists, message', [
    ({'annotations': [annotation(99)]}, r'annotations\[0\]: expected the id of one of the categories'),
    ({'annotations': [annotation(image_id=8)]}, r'annotations\[0\]: expected the image_id of one of the images'),
    ({'annotations': [annotation(bbox=(1, 2, 3))]}, r'annotations\[0\]: expected a bbox of four numbers'),
    ({'annotations': [annotation(bbox=(1, 2, 3, float('nan')))]}, r'annotations\[0\]: expected a bbox of four numbers'),
    ({'annotations': [annotation(area='big')]}, r'annotations\[0\]: expected a number as area'),
    ({'annotations': [annotation(bbox=(1, 2, 3, 10 ** 400))]}, r'annotations\[0\]: expected a bbox of four numbers'),
    ({'annotations': [3]}, "'annotations' must be a list of objects"),
    ({'images': {}}, "'images' must be a list of objects"),
    ({'categories': {'label': []}}, "'categories' must be a list of objects, found {.*}. If another tool"),
    ({'images': [IMAGE, IMAGE]}, r'images\[1\]: expected an id that no other one has'),
    ({'images': [IMAGE, dict(IMAGE, id='x')]}, r'images\[1\]: expected an id of the kind of the others'),
    ({'images': [{'file_name': 'a'}]}, r'images\[0\]: expected a whole number as id'),
    ({'images': [{'id': 1}]}, r'images\[0\]: expected a file_name'),
    ({'images': []}, r'the list of images is empty\. Export it with images, or delete the file'),
    ({'categories': [{'id': 1}]}, r'categories\[0\]: expected a name'),
    ({'images': None}, "expected an object with the lists 'images'")])
def test_annotations_that_are_not_what_the_format_promises_are_refused(write, lists, message):
    with pytest.raises(DatasetError, match=message):
        open_set(write(**lists))


@pytest.mark.parametrize('text, expected', [
    ('', '{ at character 0'), ('<xml>', '{ at'),
    ('{"images" []}', ': at character 10'), ('{"images": []; "annotations": []}', ', or } at character 13'),
    ('{"images": [{"id": 7} {"id": 8}]}', ', or ] at character 22')])
def test_what_is_no_json_is_refused(write, tmp_path, text, expected):
    folder = write()
    (tmp_path / 'annotations' / 'instances_train.json').write_text(text)
    with pytest.raises(DatasetError, match=r'instances_train\.json: expected json: %s' % expected):
        open_set(folder)


@pytest.mark.parametrize('text, found', [
    ('[]', 'a list'), ('[{"image": "a.jpg", "annotations": []}]', 'a list'), ('[' * 100000, 'a list'),  # CreateML
    ('{"version": "5.0", "shapes": [], "imagePath": "a.jpg"}', 'the keys version, shapes, imagePath'),  # labelme
    ('{%s}' % ', '.join('"%d.jpg": {}' % number for number in range(9)),                                # VIA
     'the keys 0.jpg, 1.jpg, 2.jpg, 3.jpg, 4.jpg, 5.jpg, ...'),
    ('{}', 'an empty one')])
def test_the_json_of_another_tool_is_refused_with_what_to_export(write, tmp_path, text, found):
    folder = write()
    (tmp_path / 'annotations' / 'instances_train.json').write_text(text)
    with pytest.raises(DatasetError, match="instances_train.json: expected an object with the lists 'images', "
                                           "'annotations' and 'categories', found %s: .*Export the data as COCO"
                                           % re.escape(found)):
        open_set(folder)


def test_missing_annotations_are_refused_with_the_places_looked_at(tmp_path):
    with pytest.raises(FileNotFoundError, match='annotations/instances_val.json'):
        make_dataset('coco', 'val', str(tmp_path))


def test_a_missing_image_is_named_with_the_places_looked_at(write):
    with pytest.raises(FileNotFoundError, match=r'b\.png: there is no such image in .*images/train'):
        open_set(write(image=dict(IMAGE, file_name='b.png'))).gt_roidb()


def test_image_names_written_under_windows_are_found(write):
    folder = write([annotation()], image=dict(IMAGE, file_name='train\\a.png'))
    assert open_set(folder).gt_roidb()[0]['image'].endswith('images/train/a.png')
    assert read_annotated('coco', 'train', folder).pictures[0].name == 'train/a.png'


def test_an_image_name_that_leads_out_of_the_folder_is_refused(write):
    with pytest.raises(DatasetError, match='leads out of this folder'):
        open_set(write(image=dict(IMAGE, file_name='../../a.png'))).gt_roidb()


@pytest.fixture
def release(golden, tmp_path):
    """The release's vectors and their data set; its images are empty files, which are not opened."""
    vectors = json.loads((golden / 'coco_eval.json').read_text())
    (tmp_path / 'annotations').mkdir()
    (tmp_path / 'annotations' / 'instances_val2014.json').write_text(json.dumps(vectors['instances']))
    (tmp_path / 'images' / 'val2014').mkdir(parents=True)
    for image in vectors['instances']['images']:
        (tmp_path / 'images' / 'val2014' / image['file_name']).touch()
    return vectors, open_set(str(tmp_path), 'val2014', box_rule=RELEASE)


def test_the_objects_equal_the_release_up_to_its_cut_off_fractions(release):
    vectors, imdb = release
    roidb = imdb.gt_roidb()
    assert list(imdb.classes) == vectors['classes'] and len(roidb) == len(vectors['gt_roidb'])
    for entry, expected in zip(roidb, vectors['gt_roidb']):
        np.testing.assert_array_equal(np.floor(entry['boxes']), np.reshape(expected['boxes'], (-1, 4)))
        assert entry['gt_classes'].tolist() == expected['gt_classes']
        assert (entry['index'], entry['height'], entry['width']) == (
            str(expected['index']), expected['height'], expected['width'])


def test_the_results_file_equals_the_release(release, tmp_path):
    vectors, imdb = release
    imdb.evaluate_detections(vectors['all_boxes'], str(tmp_path))
    results = json.loads((tmp_path / 'detections_val2014_results.json').read_text())

    def as_rows(items):
        return sorted([item['image_id'], item['category_id'], item['score']] + item['bbox'] for item in items)
    np.testing.assert_array_equal(as_rows(results), as_rows(vectors['results_json']))


def test_the_twelve_statistics_and_the_categories_equal_the_release(release):
    vectors, imdb = release
    metrics = imdb.evaluate_detections(vectors['all_boxes']).metrics
    np.testing.assert_allclose([metrics[name] for name in STATISTICS], vectors['stats12'], rtol=0, atol=1e-12)
    # The release's report: person 20.6, car 17.2, dog 39.5 percent.
    assert [round(100 * metrics['AP/' + name], 1) for name in ('person', 'car', 'dog')] == [20.6, 17.2, 39.5]


def test_the_pictures_of_coco_load(real_data):
    roidb = open_set(str(real_data / 'coco128'), 'train2017').gt_roidb()
    # of 929 boxes three are thinner than two pixels
    assert len(roidb) == 128 and sum(len(entry['boxes']) for entry in roidb) == 926
    assert [entry['index'] for entry in roidb if not len(entry['boxes'])] == ['250', '508']


def test_of_a_file_with_more_unknown_images_than_known_ones_each_is_told(tmp_path):
    annotations = [annotation(image_id=number) for number in range(8, 408)]
    (tmp_path / 'train.json').write_text(json.dumps({'images': [IMAGE], 'categories': CATEGORIES,
                                                     'annotations': annotations}))
    with pytest.raises(DatasetError, match=r'annotations\[0\]: expected the image_id of one of .*, found 8\. Correct'):
        read_json(str(tmp_path / 'train.json'))
    faults = []
    read_json(str(tmp_path / 'train.json'), lambda *fault: faults.append(fault))
    assert len(faults) == 400


@pytest.mark.parametrize('text, said', [
    ('[{"image_id": 9, "category_id": 18, "bbox": [1, 2, 3, 4], "score": 1}]', 'does not have, such as 9: they were'),
    ('[{"image_id": 7, "category_id": 5, "bbox": [1, 2, 3, 4], "score": 1}]', 'does not have, such as 5: they were'),
    ('[{"image_id": 7, "category_id": 18, "score": 1}]', 'expected a json list of detections'),
    ('[{"image_id": 7, "category_id": 18, "bbox": ["a", 2, 3, 4], "score": 1}]', 'expected a json list of detections'),
    ('[{"image_id": 7, "category_id": 18, "bbox": [1, 2, 3], "score": 1}]', 'expected a json list of detections'),
    ('[{"image_id": 7, "category_id": 18, "bbox": [], "score": 1}]', 'expected a json list of detections'),
    ('[{"image_id": 7, "category_id": 18, "bbox": [1, 2, NaN, 4], "score": 1}]', 'numbers that are not finite'),
    ('[{"image_id": 7, "category_id": 18, "bbox": [1, 2, 3, 4], "score": Infinity}]', 'numbers that are not finite'),
    ('{"image_id": 7}', 'expected a json list of detections'), ('', 'expected a json list of detections')])
def test_written_detections_of_another_set_or_of_another_form_are_refused(write, tmp_path, text, said):
    imdb = open_set(write([annotation()]))
    (tmp_path / 'detections_train_results.json').write_text(text)
    with pytest.raises(DatasetError, match=r'detections_train_results\.json: .*' + said):
        imdb.evaluate_files(str(tmp_path))


@pytest.mark.parametrize('objects', [[], [annotation(bbox=(1, 2, 1, 1))]])
def test_annotations_without_an_object_are_no_missing_annotations(write, objects):
    evaluation = open_set(write(objects)).evaluate_detections([[[]], [np.array([[1, 2, 10, 21, 0.9]])], [[]]])
    assert np.isnan(evaluation.score) and np.isnan(evaluation.metrics['AP@0.5/dog'])
    assert 'no annotations' not in evaluation.table
