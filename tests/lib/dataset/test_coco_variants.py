"""COCO's json as tools write it: what is read, what is told, what is refused."""
import json

import numpy as np
import pytest

from lib.dataset import faults as kinds
from lib.dataset import make_dataset, read_annotated
from lib.dataset.check.changes import plan_changes
from lib.dataset.check.fix import write_fixed
from lib.dataset.check.report import check
from lib.dataset.convert import convert
from lib.errors import DatasetError
from tests.lib.dataset.conftest import trained_on, write_files

BOX = {'image_id': 1, 'category_id': 1, 'bbox': [1, 2, 19, 19], 'area': 361, 'iscrowd': 0}
READ = [('cat', [1, 2, 19, 20])]


def image(identifier=1, name='a.jpg', **more):
    return dict(id=identifier, file_name=name, width=40, height=30, **more)


@pytest.fixture
def write(tmp_path):
    """A function (annotations, keys to replace) -> folder with two pictures and train.json."""
    def write(annotations=(BOX,), path='train.json', **keys):
        content = dict({'images': [image(), image(2, 'b.jpg')], 'annotations': list(annotations),
                        'categories': [{'id': 1, 'name': 'cat'}, {'id': 2, 'name': 'dog'}]}, **keys)
        return write_files(tmp_path / 'set', {path: json.dumps(content), 'images/train/a.jpg': None,
                                              'images/train/b.jpg': None})
    return write


@pytest.mark.parametrize('ids', [(0, 1), (-1, -2), (10 ** 30, 2), ('a', 'b'), ('001', '1'), (1.0, 2.0), ('a/b', 'c d')])
def test_ids_may_be_any_whole_numbers_or_texts(write, ids):
    folder = write([dict(BOX, image_id=number, category_id=number) for number in ids],
                   images=[image(ids[0]), image(ids[1], 'b.jpg')],
                   categories=[{'id': ids[1], 'name': 'dog'}, {'id': ids[0], 'name': 'cat'}])
    assert trained_on('coco', folder) == {'images/train/a.jpg': READ, 'images/train/b.jpg': [('dog', [1, 2, 19, 20])]}
    assert read_annotated('coco', 'train', str(folder)).classes == ('dog', 'cat')       # in the file's order


@pytest.mark.parametrize('keys, annotation, message', [
    ({'images': [image(), image(1, 'b.jpg')]}, {}, r'images\[1\]: expected an id that no other one has'),
    ({'images': [image(), image('2', 'b.jpg')]}, {}, r'images\[1\]: expected an id of the kind of the others'),
    ({'images': [image(True), image(2, 'b.jpg')]}, {}, r'images\[0\]: expected a whole number as id'),
    ({'images': [image(1, ''), image(2, 'b.jpg')]}, {}, r'images\[0\]: expected a file_name'),
    ({}, {'image_id': '1'}, r"\[0\]: expected the image_id of one of the images, found '1'\. There is 1: write ids"),
    ({}, {'category_id': 7}, r'annotations\[0\]: expected the id of one of the categories, found 7'),
    ({'categories': [{'id': 1, 'name': 'cat'}, {'id': 1, 'name': 'dog'}]}, {}, r'expected an id that no other one has'),
    ({'categories': [{'id': 1, 'name': ''}]}, {}, r'categories\[0\]: expected a name'),
    ({}, {'bbox': ['1', '2', '3', '4']}, r'annotations\[0\]: expected a bbox of four numbers'),
    ({}, {'bbox': [1, 2, None, 4]}, r'expected a bbox of four numbers'),
    ({}, {'bbox': [1, 2, float('nan'), 4]}, r'expected a bbox of four numbers'),
    ({}, {'bbox': [1, 2, float('inf'), 4]}, r'expected a bbox of four numbers'),
    ({}, {'area': '361'}, r'expected a number as area')])
def test_what_nothing_can_be_made_of_is_an_error_with_its_place(write, keys, annotation, message):
    with pytest.raises(DatasetError, match=r'train\.json: .*' + message):
        trained_on('coco', write([dict(BOX, **annotation)], **keys))


def test_two_pictures_of_one_id_are_left_out_of_the_copy_with_all_objects_of_the_id(write, tmp_path):
    folder = write([BOX, dict(BOX, image_id=3)], images=[image(), image(1, 'b.jpg'), image(3, 'b.jpg')])
    data = read_annotated('coco', 'train', str(folder))
    write_fixed(data, plan_changes(check(data)), 'train', str(folder), str(tmp_path / 'out'))
    assert trained_on('coco', tmp_path / 'out') == {'images/train/b.jpg': READ}


@pytest.mark.parametrize('name', ['a.jpg', './a.jpg', 'images/train/a.jpg', 'train\\a.jpg'])
def test_two_entries_of_one_file_stop_training_and_conversion(write, tmp_path, name):
    folder = write([BOX, dict(BOX, image_id=2)], images=[image(), image(2, name)])
    for use in (lambda: trained_on('coco', folder),
                lambda: convert('coco', 'yolo', ['train'], str(folder), str(tmp_path / 'out'))):
        with pytest.raises(DatasetError, match=r'a\.jpg: is the image of 1 .* and of 2 .*background to the other'):
            use()


@pytest.mark.parametrize('name', ['a.jpg', './a.jpg', 'images/train/a.jpg', 'train/a.jpg', 'images\\train\\a.jpg', '@'])
def test_a_file_name_may_be_a_path_also_an_absolute_one_within_the_folder(write, tmp_path, name):
    name = name.replace('@', str(tmp_path / 'set' / 'images' / 'train' / 'a.jpg'))
    assert trained_on('coco', write(images=[image(1, name)]))['images/train/a.jpg'] == READ


@pytest.mark.parametrize('name, kind', [
    ('/elsewhere/a.jpg', kinds.NAME), ('../../a.jpg', kinds.NAME), ('.', kinds.NAME),
    ('C:\\photos\\a.jpg', kinds.MISSING),
    ('http://x/a.jpg', kinds.MISSING), ('._a.jpg', kinds.MISSING), ('c.jpg', kinds.MISSING)])
def test_a_picture_that_is_elsewhere_or_nowhere_is_named_with_its_json_file(write, name, kind):
    folder = write(images=[image(1, name)])
    with pytest.raises((DatasetError, FileNotFoundError), match=r'train\.json'):
        trained_on('coco', folder)
    assert [fault.kind for fault in read_annotated('coco', 'train', str(folder)).faults] == [kind]


@pytest.mark.parametrize('name', [
    'A.jpg', 'a.JPG', 'a.png', 'a', ' a.jpg', '%61.jpg', 'C:\\photos\\a.jpg', 'http://x/a.jpg', '/elsewhere/a.jpg',
    'old/train/a.jpg', '..\\..\\upload\\1\\a.jpg'])
def test_a_picture_that_is_meant_is_told(write, name):
    with pytest.raises((DatasetError, FileNotFoundError), match=r'images/train/a\.jpg is there: correct the name'):
        trained_on('coco', write(images=[image(1, name)]))


@pytest.mark.parametrize('place', ['imgs', 'data/part 1', 'images/test'])
def test_a_picture_in_another_folder_of_the_data_set_is_told(write, place):
    folder = write(images=[image(1, 'c.png')])
    write_files(folder, {place + '/c.png': None, '.trash/c.png': None})
    with pytest.raises(FileNotFoundError, match=r'%s/c\.png is there: correct the name$' % place):
        trained_on('coco', folder)


TWINS = [{'id': 0, 'name': 'cat'}, {'id': 1, 'name': 'cat '}, {'id': 2, 'name': 'dog'}]


@pytest.mark.parametrize('categories', [TWINS, TWINS[::-1]])
def test_a_second_category_of_a_name_that_has_no_object_does_not_count(write, categories):
    folder = write(categories=categories)       # Roboflow's category 0, of a group that is called like its class
    assert trained_on('coco', folder)['images/train/a.jpg'] == READ
    data = make_dataset('coco', 'train', str(folder))
    assert (set(data.classes[1:]), data.category_ids['cat']) == ({'cat', 'dog'}, 1)


def test_two_categories_of_a_name_that_both_have_objects_are_refused(write):
    with pytest.raises(DatasetError, match="train.json: the categories of the ids 0 and 1 are both called 'cat'"):
        trained_on('coco', write([BOX, dict(BOX, category_id=0)], categories=TWINS))


def test_pictures_may_lie_in_a_folder_data(tmp_path):
    content = {'images': [image(1, 'c.jpg')], 'annotations': [BOX], 'categories': [{'id': 1, 'name': 'cat'}]}
    folder = write_files(tmp_path, {'labels.json': json.dumps(content), 'data/c.jpg': None})     # FiftyOne
    assert trained_on('coco', folder, 'labels') == {'data/c.jpg': READ}


@pytest.mark.parametrize('name', ['train.JSON', 'Train.json', 'annotations/instances_train.Json'])
def test_a_json_file_that_is_meant_is_told(write, name):
    with pytest.raises(FileNotFoundError, match=r'tried .*\. /\S+%s is there: correct the name' % name):
        trained_on('coco', write(path=name))


def test_a_class_name_that_a_text_file_would_break_stops_before_it_is_trained_on(write):
    with pytest.raises(DatasetError, match=r"train\.json: expected class names of one line, found 'big\\ncat'"):
        trained_on('coco', write(categories=[{'id': 1, 'name': 'big\ncat'}]))


def test_the_picture_of_the_likeliest_folder_is_taken_and_another_one_is_told(write, caplog):
    folder = write_files(write(), {'a.jpg': None})
    assert trained_on('coco', folder)['images/train/a.jpg'] == READ
    assert any('could be %s or %s; the first is taken' % (folder / 'images/train/a.jpg', folder / 'a.jpg') in text
               for text in caplog.messages)


def test_a_second_json_file_of_a_set_is_told(write, caplog):
    folder = write_files(write(), {'annotations/instances_train.json': (write() / 'train.json').read_bytes()})
    assert trained_on('coco', folder)['images/train/a.jpg'] == READ
    assert any('instances_train.json: the image set has %s too, which does not count' % (folder / 'train.json') in text
               for text in caplog.messages)


@pytest.mark.parametrize('place', ['annotations/', ''])
def test_a_json_file_with_poses_is_read_where_there_is_no_other(write, place, caplog):
    folder = write(path=place + 'person_keypoints_train.json')
    assert trained_on('coco', folder)['images/train/a.jpg'] == READ
    write(annotations=[dict(BOX, category_id=2)], path=place + 'instances_train.json')
    assert trained_on('coco', folder)['images/train/a.jpg'][0][0] == 'dog'
    assert not any('does not count' in text for text in caplog.messages)


def test_the_layout_of_roboflow_and_hidden_files_beside(tmp_path):
    content = json.dumps({'images': [image()], 'annotations': [BOX], 'categories': [{'id': 1, 'name': 'cat'}]})
    write_files(tmp_path, {'valid/_annotations.coco.json': content, 'valid/a.jpg': None, 'valid/._a.jpg': b'\0',
                           'valid/._annotations.coco.json': b'\0'})
    assert trained_on('coco', tmp_path, 'val') == {'valid/a.jpg': READ}


@pytest.mark.parametrize('size', [(30, 40), (20, 15), (400, 300), (80.0, 60.0), ('80', '60')])
def test_an_annotated_size_that_the_image_contradicts_is_not_converted(write, tmp_path, size):
    folder = write(images=[dict(image(), width=size[0], height=size[1])])
    with pytest.raises(DatasetError, match=r'a\.jpg: the image is 40 x 30 pixels, its annotation .*train\.json says %d'
                       % int(size[0])):
        convert('coco', 'yolo', ['train'], str(folder), str(tmp_path / 'out'))
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('keys', [{'isCrowd': 1}, {'is_crowd': True}, {'Ignored': '1'}, {'isDifficult': 'true'},
                                  {'attributes': {'difficult': True, 'rotation': 0.0, 'ignore': 'rain'}},
                                  {'attributes': {'ignore': 'true'}}])
def test_a_flag_may_be_written_as_other_tools_do(write, keys):
    assert trained_on('coco', write([BOX, dict(BOX, **keys)]))['images/train/a.jpg'] == READ


@pytest.mark.parametrize('flag', ['iscrowd', 'ignore', 'difficult'])
@pytest.mark.parametrize('target', ['PascalVOC', 'coco', 'csv'])
def test_flagged_objects_stay_flagged_when_converted(write, tmp_path, flag, target):
    folder = write([BOX, dict(BOX, bbox=[20, 10, 15, 15], **{flag: 1})])
    convert('coco', target, ['train'], str(folder), str(tmp_path / 'out'))
    imdb = make_dataset(target, 'train', str(tmp_path / 'out'), classes=['cat'], on_unknown_class='ignore')
    dets = [[[]] * 2, [np.array([[1, 2, 19, 20, 0.9]]), np.zeros((0, 5))]]
    assert [len(entry['boxes']) for entry in imdb.gt_roidb()] == [1, 0]
    assert imdb.evaluate_detections(dets).metrics['mAP@0.5'] == pytest.approx(1)


def test_a_crowd_as_rle_is_a_crowd_and_more_than_100_objects_are_told(write):
    crowd = dict(BOX, iscrowd=1, segmentation={'counts': [0, 5], 'size': [30, 40]})
    assert trained_on('coco', write([BOX, crowd]))['images/train/a.jpg'] == READ
    many = [dict(BOX, bbox=[number % 10, number // 10, 9, 9]) for number in range(101)]
    faults = check(read_annotated('coco', 'train', str(write(many)))).by_kind()
    assert '1 of 2 images have more than 100 objects (the most: 101)' in faults[kinds.CROWDED][0].text


def test_a_crowd_with_the_box_of_an_object_does_not_replace_it_in_the_copy(write, tmp_path):
    folder = write([dict(BOX, iscrowd=1), BOX, BOX])
    data = read_annotated('coco', 'train', str(folder))
    report = check(data)
    assert [fault.number for fault in report.by_kind()[kinds.DOUBLED]] == [2]
    write_fixed(data, plan_changes(report), 'train', str(folder), str(tmp_path / 'out'))
    assert trained_on('coco', tmp_path / 'out')['images/train/a.jpg'] == READ


def test_the_copy_of_test_images_has_no_annotations_either(tmp_path):
    folder = write_files(tmp_path / 'set', {'train/a.jpg': None, 'train.json': json.dumps(
        {'images': [image()], 'categories': [{'id': 1, 'name': 'cat'}]})})
    data = read_annotated('coco', 'train', str(folder))
    write_fixed(data, plan_changes(check(data)), 'train', str(folder), str(tmp_path / 'out'))
    assert not data.annotated and not read_annotated('coco', 'train', str(tmp_path / 'out')).annotated
