"""Lists of boxes in CSV files."""
import cv2
import numpy as np
import pytest

from lib.dataset import make_dataset, read_annotated
from lib.errors import DatasetError


@pytest.fixture
def folder(tmp_path):
    """A folder with the images images/a.jpg, b.PNG and images/val/c.jpg of 40 x 30 pixels."""
    (tmp_path / 'images' / 'val').mkdir(parents=True)
    for name in ('images/a.jpg', 'b.PNG', 'images/val/c.jpg'):
        data = cv2.imencode(name[-4:].lower(), np.full((30, 40, 3), 90, dtype=np.uint8))[1]
        (tmp_path / name).write_bytes(data.tobytes())
    return tmp_path


def open_set(folder, text, **options):
    (folder / 'train.csv').write_text(text)
    return make_dataset('csv', 'train', '', str(folder), **options)


def test_a_line_is_a_box_counted_from_zero_and_a_line_without_a_box_is_an_image_without_objects(folder):
    imdb = open_set(folder, 'a.jpg,0,1,9,10.5,cat\na.jpg,20,5,29,14,dog\nb.PNG,,,,,\n')
    assert imdb.classes == ('__background__', 'cat', 'dog') and imdb.image_set_index == ['a.jpg', 'b.PNG']
    first, second = imdb.gt_roidb()
    assert first['boxes'].tolist() == [[0, 1, 9, 10.5], [20, 5, 29, 14]] and first['gt_classes'].tolist() == [1, 2]
    assert (first['width'], first['height'], first['image']) == (40, 30, str(folder / 'images' / 'a.jpg'))
    assert second['boxes'].shape == (0, 4) and second['image'] == str(folder / 'b.PNG')


@pytest.mark.parametrize('text', [
    'filename;width;height;class;xmin;ymin;xmax;ymax\na.jpg;40;30;cat;1;2;3;4\n',
    '\ufeffimage\tx1\ty1\tx2\ty2\tlabel\tdifficult\na.jpg\t1\t2\t3\t4\tcat\t0\n',
    'image,x1,y1,x2,y2,class\n\n"a.jpg", 1, 2, 3, 4, cat\n'])
def test_columns_may_be_named_otherwise_ordered_and_separated(folder, text):
    (entry,) = open_set(folder, text).gt_roidb()
    assert entry['boxes'].tolist() == [[1, 2, 3, 4]]


def test_difficult_objects_and_crowds_are_evaluated_but_not_trained_on(folder):
    lines = ['image,x1,y1,x2,y2,class,difficult,crowd', 'a.jpg,1,2,9,9,cat,1,0', 'a.jpg,1,2,8,9,cat,0,true',
             'a.jpg,1,2,7,9,cat,,']
    imdb = open_set(folder, '\n'.join(lines))
    assert imdb.gt_roidb()[0]['boxes'].tolist() == [[1, 2, 7, 9]]
    assert imdb.ground_truth()['cat']['a.jpg'][1].tolist() == [True, True, False]


def test_what_sticks_out_is_clipped_and_what_is_outside_or_inverted_is_dropped_with_its_line(folder, caplog):
    (entry,) = open_set(folder,
                        'a.jpg,-3,2,9,9,cat\na.jpg,50,2,60,9,cat\na.jpg,9,2,1,9,cat\na.jpg,4,4,4,9,cat\n').gt_roidb()
    assert entry['boxes'].tolist() == [[0, 2, 9, 9]]
    for line, what in ((1, 'box sticks out: clipped'), (2, 'box outside the image: dropped'),
                       (3, 'inverted box: dropped'),
                       (4, 'tiny box: dropped')):
        assert any('train.csv: line %d (cat)' % line in message and what in message for message in caplog.messages)


def test_class_names_come_from_the_config_from_a_file_or_from_all_lists(folder):
    (folder / 'val.csv').write_text('c.jpg,1,2,9,9,zebra\n')
    (folder / 'predictions.csv').write_text('a.jpg,1,2,3,4,0.93\n')      # no set that is used: it is left alone
    text = 'a.jpg,1,2,9,9,cat\n'
    assert open_set(folder, text, sets=['train', 'val', 'test']).classes[1:] == ('cat', 'zebra')
    assert open_set(folder, text).classes[1:] == ('cat',)
    assert make_dataset('csv', 'val', '',
                        str(folder)).gt_roidb()[0]['image'] == str(folder / 'images' / 'val' / 'c.jpg')
    assert open_set(folder, 'a.jpg,1,2,9,9,Cat\n', classes=['dog', 'cat']).gt_roidb()[0]['gt_classes'].tolist() == [2]
    (folder / 'classes.txt').write_text('wolf\ncat\n')
    assert open_set(folder, 'a.jpg,1,2,9,9,cat\n').classes[1:] == ('wolf', 'cat')


def test_an_unknown_class_is_refused_or_left_out(folder):
    with pytest.raises(DatasetError, match=r"train\.csv: line 1 \(cow\): unknown class 'cow'; known are cat"):
        open_set(folder, 'a.jpg,1,2,9,9,cow\n', classes=['cat'])
    imdb = open_set(folder, 'a.jpg,1,2,9,9,cow\na.jpg,1,2,9,8,cat\n', classes=['cat'], on_unknown_class='ignore')
    assert imdb.gt_roidb()[0]['boxes'].tolist() == [[1, 2, 9, 8]]
    with pytest.raises(DatasetError, match="on_unknown_class must be 'error' or 'ignore', not 'sometimes'"):
        open_set(folder, 'a.jpg,1,2,9,9,cat\n', on_unknown_class='sometimes')


@pytest.mark.parametrize('text, message', [
    ('a.jpg,1,2,3,4,cat\na.jpg,1,2,x,4,cat\n',
     r'train\.csv: line 2: expected four numbers x1, y1, x2, y2 and a class, found 1, 2, x, 4, cat'),
    ('a.jpg,1,2,3,4,cat\na.jpg,1,2,nan,4,cat\n', r'line 2: expected four numbers'),
    ('a.jpg,1,2,3,4,cat\na.jpg,1,2\n', r'line 2: expected four numbers'),
    ('a.jpg,1,2,3,4,cat\na.jpg,1,2,3,4,\n', r'line 2: expected four numbers x1, y1, x2, y2 and a class'),
    ('a.jpg,1,2,3,4,cat\n,1,2,3,4,cat\n', r'line 2: has no name of an image'),
    ('image,x1,y1,x2,class\na.jpg,1,2,3,cat\n', r'line 1: names the columns image, x1, y1, x2, class and lacks y2'),
    ('image,x1,y1,x2,y2,class,difficult\na.jpg,1,2,3,4,cat,\na.jpg,1,2,3,4,cat,maybe\n',
     r"line 3: difficult must be 0 or 1 \(or true, false, null\), not 'maybe'"),
    ('a.jpg,1,2,3,4,cat\n../secret.jpg,1,2,3,4,cat\n', r"the name '../secret.jpg' leads out of this folder; refused"),
    ('', r"expected lines 'image,x1,y1,x2,y2,class', found none"),
    ('a.jpg,,,,,\n', r"semicolons or tabs, found lines without a box and a class, such as 'a.jpg'"),
    ('a.jpg,"1,2\n', r'cannot be read'), ('\0', r'train.csv')])
def test_what_is_wrong_in_a_list_is_named_with_its_line(folder, text, message):
    with pytest.raises(DatasetError, match=message):
        open_set(folder, text)


def test_missing_images_and_lists_are_named(folder):
    with pytest.raises(FileNotFoundError, match=r'gone\.jpg: there is no such image in .*images'):
        open_set(folder, 'gone.jpg,1,2,3,4,cat\n')
    with pytest.raises(FileNotFoundError, match=r"no list of boxes of the image set 'test': tried .*test\.csv"):
        make_dataset('csv', 'test', '', str(folder))


def test_detections_equal_to_the_objects_score_one_also_after_they_were_written(folder, tmp_path):
    imdb = open_set(folder, 'a.jpg,0,1,9,10.5,cat\na.jpg,20,5,29,14,dog\nb.PNG,,,,,\n')
    all_boxes = [[[], []], [[[0, 1, 9, 10.5, 0.9]], []], [[[20, 5, 29, 14, 0.8]], []]]
    assert imdb.evaluate_detections(all_boxes, str(tmp_path / 'out')).score == 1
    assert imdb.evaluate_files(str(tmp_path / 'out')).metrics['AP@0.5/dog'] == 1


def test_an_image_that_cannot_be_read_is_left_out_where_bad_images_are_skipped(folder, caplog):
    (folder / 'bad.png').write_bytes(b'no image')
    text = 'a.jpg,1,2,9,9,cat\nbad.png,1,2,9,9,cat\n'
    imdb = open_set(folder, text, on_bad_image='skip')
    assert imdb.image_set_index == ['a.jpg'] and [len(entry['boxes']) for entry in imdb.gt_roidb()] == [1]
    assert 'bad.png: expected an image' in caplog.text and 'left out (on_bad_image: skip)' in caplog.text
    with pytest.raises(DatasetError, match=r'bad\.png: expected an image'):
        open_set(folder, text).gt_roidb()
    with pytest.raises(DatasetError, match=r'_train: none of the images can be read, such as .*bad\.png'):
        open_set(folder, 'bad.png,1,2,9,9,cat\n', on_bad_image='skip')


def test_a_stated_size_may_have_a_decimal_point(folder):
    open_set(folder, 'image,x1,y1,x2,y2,class,width,height\na.jpg,1,2,9,9,cat,40.0,3e1\n')
    assert read_annotated('csv', 'train', str(folder)).pictures[0].size == (40, 30)
