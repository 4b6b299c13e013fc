"""Lists of boxes in CSV files, as the project, other tools and people write them."""
import os

import cv2
import numpy as np
import pytest

from lib.dataset import make_dataset, read_annotated
from lib.dataset.box_rule import hints
from lib.dataset.check.report import check
from lib.errors import DatasetError
from tests.lib.dataset.conftest import trained_on, write_files


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
    return make_dataset('csv', 'train', str(folder), **options)


def test_a_line_is_a_box_counted_from_zero_and_a_line_without_a_box_is_an_image_without_objects(folder):
    imdb = open_set(folder, 'a.jpg,0,1,9,10.5,cat\na.jpg,20,5,29,14,dog\nb.PNG,,,,,\n')
    assert imdb.classes == ('__background__', 'cat', 'dog') and imdb.image_set_index == ['a.jpg', 'b.PNG']
    first, second = imdb.gt_roidb()
    assert first['boxes'].tolist() == [[0, 1, 9, 10.5], [20, 5, 29, 14]] and first['gt_classes'].tolist() == [1, 2]
    assert (first['width'], first['height'], first['image']) == (40, 30, str(folder / 'images' / 'a.jpg'))
    assert second['boxes'].shape == (0, 4) and second['image'] == str(folder / 'b.PNG')


@pytest.mark.parametrize('cells', ['NA,NA,NA,NA,NA', 'nan,nan,nan,nan,', ',,,,None', 'null,null,null,null,null'])
def test_an_image_without_objects_may_be_written_as_by_r_and_pandas(folder, cells):
    (folder / 'val.csv').write_text('b.PNG,%s\n' % cells)
    imdb = open_set(folder, 'a.jpg,0,1,9,10.5,cat\nb.PNG,%s\n' % cells, sets=['train', 'val'])
    assert [len(entry['boxes']) for entry in imdb.gt_roidb()] == [1, 0] and imdb.classes[1:] == ('cat',)


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
    assert make_dataset('csv', 'val', str(folder)).gt_roidb()[0]['image'] == str(folder / 'images' / 'val' / 'c.jpg')
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


def test_of_many_classes_a_message_about_an_unknown_one_names_some(folder):
    classes = ['class %d' % number for number in range(1000)]      # each object of an unknown class has a message
    with pytest.raises(DatasetError, match=r"unknown class 'cow'; known are class 0, .* 29 \.\.\. \(1000 in all\)"):
        open_set(folder, 'a.jpg,1,2,9,9,cow\n', classes=classes)


def test_a_label_is_the_class_of_the_same_name_or_else_of_the_same_letters(folder):
    imdb = open_set(folder, 'a.jpg,1,2,9,7,cat\na.jpg,1,2,9,8,Cat\na.jpg,1,2,9,9,DOG\n', classes=['Cat', 'cat', 'Dog'])
    assert imdb.gt_roidb()[0]['gt_classes'].tolist() == [2, 1, 3]


@pytest.mark.parametrize('text, message', [
    ('a.jpg,1,2,3,4,cat\na.jpg,1,2,x,4,cat\n',
     r'train\.csv: line 2: expected four numbers x1, y1, x2, y2 and a class, found 1, 2, x, 4, cat'),
    ('a.jpg,1,2,3,4,cat\na.jpg,1,2,nan,4,cat\n', r'line 2: expected four numbers'),
    ('a.jpg,1,2,3,4,cat\na.jpg,1,2,1_0,4,cat\n', r'line 2: expected four numbers'),
    ('a.jpg,1,2,3,4,cat\na.jpg,1,2,\u0663,4,cat\n', r'line 2: expected four numbers'),      # an Arabic three
    ('a.jpg,1,2,3,4,cat\na.jpg,1,2\n', r'line 2: expected four numbers'),
    ('a.jpg,1,2,3,4,cat\na.jpg,1,2,3,4,\n', r'line 2: expected four numbers x1, y1, x2, y2 and a class'),
    ('a.jpg,1,2,3,4,cat\n,1,2,3,4,cat\n', r'line 2: has no name of an image. Write it'),
    ('image,x1,y1,x2,class\na.jpg,1,2,3,cat\n', r'line 1: names the columns image, x1, y1, x2, class and lacks y2'),
    ('image,x1,y1,x2,y2,class,difficult\na.jpg,1,2,3,4,cat,\na.jpg,1,2,3,4,cat,maybe\n',
     r"line 3: difficult must be 0 or 1 \(or true, false, null\), not 'maybe'"),
    ('a.jpg,1,2,3,4,cat\n../secret.jpg,1,2,3,4,cat\n', r"the name '../secret.jpg' leads out of this folder; refused"),
    ('', r"expected lines 'image,x1,y1,x2,y2,class', found none\. Write some, or delete the file"),
    ('a.jpg,,,,,\n', r"semicolons or tabs, found lines without a box and a class, such as 'a.jpg'"),
    ('a.jpg,"1,2\n', r'cannot be read'), ('\0', r'train.csv')])
def test_what_is_wrong_in_a_list_is_named_with_its_line(folder, text, message):
    with pytest.raises(DatasetError, match=message):
        open_set(folder, text)


def test_missing_images_and_lists_are_named(folder):
    with pytest.raises(FileNotFoundError, match=r'gone\.jpg: there is no such image in .*images'):
        open_set(folder, 'gone.jpg,1,2,3,4,cat\n')
    with pytest.raises(FileNotFoundError, match=r"no list of boxes of the image set 'test': tried .*test\.csv"):
        make_dataset('csv', 'test', str(folder))


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


HEAD = 'image,x1,y1,x2,y2,class\n'
LINE = 'a.jpg,1,2,19,20,cat\n'
READ = [('cat', [1, 2, 19, 20])]


@pytest.fixture
def write(tmp_path):
    """A function (content of train.csv, further files) -> folder with two pictures."""
    def write(content, **more):
        content = content if isinstance(content, bytes) else content.encode()
        return write_files(tmp_path, dict({'train.csv': content, 'images/a.jpg': None, 'images/b.jpg': None}, **more))
    return write


@pytest.mark.parametrize('text', [
    LINE, HEAD + LINE, '\ufeff' + HEAD + LINE, HEAD.upper() + LINE, (HEAD + LINE).replace(',', ';'),
    (HEAD + LINE).replace(',', '\t'), (HEAD + LINE).replace('\n', '\r\n'), HEAD + '\n' + LINE + '\n',
    HEAD + '"a.jpg","1","2","19","20","cat"\n', HEAD + './a.jpg, 1 ,2,19,20, cat\n',
    HEAD + 'images\\a.jpg,1,2,19,20,cat\n',
    'filename,width,height,class,xmin,ymin,xmax,ymax\na.jpg,40,30,cat,1,2,19,20\n',
    ',image,x1,y1,x2,y2,class\n0,a.jpg,1,2,19,20,cat\n', 'path,xmin,xmax,ymin,ymax,label\na.jpg,1,19,2,20,cat\n',
    'Image ID,X_min,y-min,XMax,YMAX,Label Name\na.jpg,1,2,19,20,cat\n', 'sep=;\n' + (HEAD + LINE).replace(',', ';'),
    HEAD + 'a.jpg, "1", 2, 19, 20, "cat"\n', '\n \r\n' + (HEAD + LINE).replace(',', ';'),
    HEAD.replace('class', 'class,score') + LINE.replace('\n', ',0.9\n'), HEAD + LINE.replace('\n', ',,\n')])
def test_lists_that_mean_the_same_are_read_alike(write, text):
    assert trained_on('csv', write(text)) == {'images/a.jpg': READ}


@pytest.mark.parametrize('text, message', [
    (HEAD + 'a.jpg,1,5,2,5,19,5,20,5,cat\n', r'line 2: has more cells than there are columns \(decimal commas\?'),
    (HEAD + 'a.jpg,12,5,10,39,39,cat\n', r'line 2: has more cells than there are columns'),
    ('a.jpg,1,2,19,20,cat,0.9\n', r"line 1: has more cells .*Without a first line 'image,x1,y1,x2,y2,class' there are"),
    (HEAD.replace(',', ';') + 'a.jpg;1,5;2;19;20;cat\n', r'line 2: expected four numbers .*found 1,5, 2, 19, 20, cat'),
    (HEAD + HEAD + LINE, r'line 2: expected four numbers'),
    ('# boxes\n' + HEAD + LINE, r'line 2: expected four numbers'),
    ('image,x1,y1,x1,y2,class\n' + LINE, r"line 1: names the column 'x1' twice"),
    ('image,x,y,w,h,class\n' + LINE, r'line 1: names the columns image, x, y, w, h, class and lacks x1, y1, x2, y2'),
    ('image_id,width,height,bbox,source\n', r'lacks x1, y1, x2, y2, class'),
    ('photo,x1,y1,x2,y2,class\n' + LINE, r'line 1: names the columns photo, x1, y1, x2, y2, class and lacks image'),
    (HEAD.replace('class', 'class,width,height') + (2 * 'a.jpg,1,2,19,20,cat,%d,30\n') % (40, 80),
     r'line 3: states 80 x 30 pixels for a\.jpg, an earlier line 40 x 30'),
    ((HEAD + LINE).replace(',', '|'), r"separated by commas, semicolons or tabs, found .* 'image|x1|y1|x2|y2|class'"),
    ('<xml>\n<body>\n', r"separated by commas, semicolons or tabs, found .* '<xml>'"),
    (HEAD, r"expected lines 'image,x1,y1,x2,y2,class', found none"),
    (HEAD + LINE + 'a.jpg,1,2,19,20,"cat\n' + LINE, r'line 3: expected .*whose quotes come in pairs, cannot be read'),
    (HEAD + LINE + 'a.jpg,1,2,19,20,"c"at\n', r'line 3: expected .*whose quotes come in pairs, cannot be read'),
    ((HEAD + LINE).encode('utf-16'), r'looks like UTF-16.*Save the file as UTF-8'),
    ((HEAD + LINE.replace('cat', '\u6c7d\u8f66')).encode('gb2312'), r'such as GB2312.*Save the file as UTF-8')]
    + [(HEAD + LINE.replace(',1,', ',%s,' % number), r'line 2: expected four numbers .*found %s, 2, 19, 20' % number)
       for number in ('nan', 'inf', '1e9', 'one', '', '0x1', '1px')])
def test_what_is_no_list_of_boxes_is_an_error_with_its_line(write, text, message):
    with pytest.raises(DatasetError, match=r'train\.csv: .*' + message):
        trained_on('csv', write(text))


def test_a_second_list_of_a_set_is_told(write, caplog):
    folder = write(HEAD + LINE, **{'annotations/train.csv': HEAD, 'training.csv': HEAD})
    assert trained_on('csv', folder) == {'images/a.jpg': READ}
    assert [text for text in caplog.messages if 'which does not count' in text] == [
        '%s: the image set has %s too, which does not count. Take one of them away'
        % (folder / 'train.csv', folder / 'annotations' / 'train.csv')]


def test_what_is_only_told_is_never_the_reason_why_a_list_cannot_be_read(write):
    with pytest.raises(DatasetError, match=r'annotations/train\.csv: line 1: expected four numbers'):
        folder = write('', **{'annotations/train.csv': 'a.jpg,1,2,x,4,cat\n', 'train/_annotations.csv': HEAD})
        (folder / 'train.csv').unlink()
        trained_on('csv', folder)


@pytest.mark.parametrize('column', ['difficult', 'is_difficult', 'iscrowd', 'Is Crowd', 'IsGroupOf', 'ignored'])
def test_a_column_of_flags_may_have_any_of_its_names(write, column):
    folder = write(HEAD.replace('\n', ',%s\n' % column) + LINE.replace('\n', ',0\n') + LINE.replace('\n', ',1\n'))
    assert trained_on('csv', folder) == {'images/a.jpg': READ}


def test_other_lists_beside_and_hidden_ones_add_no_class(write):
    folder = write(HEAD + LINE, **{'predictions.csv': HEAD + 'a.jpg,1,2,19,20,0.93\n', '._train.csv': b'\0\xff',
                                   'val.csv': HEAD + 'b.jpg,1,2,19,20,dog\n', '.~lock.train.csv#': 'x'})
    assert read_annotated('csv', 'train', str(folder)).classes == ('cat',)
    assert read_annotated('csv', 'train', str(folder), sets=['train', 'val']).classes == ('cat', 'dog')


@pytest.mark.parametrize('name', ['./a.jpg', 'images/a.jpg', 'images\\a.jpg'])
def test_a_picture_under_two_names_stops(write, name):
    with pytest.raises(DatasetError, match=r'images/a\.jpg: is the image of a\.jpg .* and of \.?/?(images/)?a\.jpg'):
        trained_on('csv', write(HEAD + LINE + LINE.replace('a.jpg', name)))


@pytest.mark.parametrize('name', ['/elsewhere/a.jpg', '../a.jpg', 'C:\\photos\\a.jpg', 'c.jpg', 'a', '._a.jpg'])
def test_a_picture_that_is_elsewhere_or_nowhere_is_named_with_its_list(write, name):
    with pytest.raises((DatasetError, FileNotFoundError), match=r'train\.csv.*\. (/\S+ is there: correct the name|'
                                                                r'Add it, or take it out|Copy it into)'):
        trained_on('csv', write(HEAD + LINE.replace('a.jpg', name)))


@pytest.mark.parametrize('boxes, hint', [
    ('1,1,40,30|5,5,20,20', 'no box begins at 0, and some end one pixel beyond'),
    ('1,1,40,30|5,5,60,20|1,1,40,9', 'no box begins at 0, and some end one pixel beyond'),
    ('0,0,40,30', None), ('1,1,39,29', None), ('1,1,70,60', None),
    ('0.1,0.2,0.5,0.9', 'no corner is 2 pixels away from 0. Pixels are expected'),
    ('0.1,0.2,1.01,0.9|0,0,1,1', 'no corner is 2 pixels away from 0'), ('0,0,1,1|0,0,9,9', None)])
def test_boxes_counted_from_1_and_fractions_get_a_hint(write, boxes, hint):
    rows = ''.join('a.jpg,%s,cat\n' % box for box in boxes.split('|'))
    found = check(read_annotated('csv', 'train', str(write(HEAD + rows)))).by_kind().get('hint', [])
    assert [hint in fault.text for fault in found] == [True] * bool(hint)


def test_pixels_may_be_counted_from_1(write):
    assert trained_on('csv', write(HEAD + 'a.jpg,1,1,40,30,cat\n'), origin=1) == {
        'images/a.jpg': [('cat', [0, 0, 39, 29])]}


def test_links_are_followed_within_and_out_of_the_folder(write):
    folder = write(HEAD + LINE)
    (folder / 'train.csv').rename(folder / 'list.txt')
    (folder / 'train.csv').symlink_to('list.txt')
    assert trained_on('csv', folder) == {'images/a.jpg': READ}
    (folder / 'images' / 'a.jpg').unlink()
    (folder / 'images' / 'a.jpg').symlink_to('/nowhere')
    with pytest.raises(FileNotFoundError, match=r'a\.jpg: there is no such image in .*and .*train\.csv names it'):
        trained_on('csv', folder)


def test_a_pipe_in_the_place_of_a_list_is_refused(tmp_path):
    os.mkfifo(tmp_path / 'train.csv')
    with pytest.raises(DatasetError, match='a regular file is expected, this is a named pipe'):
        read_annotated('csv', 'train', str(tmp_path))


def test_the_pictures_of_train_labels_lie_in_the_folder_train(tmp_path):
    write_files(tmp_path, {'test_labels.csv': HEAD + LINE, 'images/test/a.jpg': None, 'images/train/b.jpg': None,
                           'train_labels.csv': HEAD + LINE.replace('a.jpg', 'b.jpg')})
    assert list(trained_on('csv', tmp_path, 'train_labels')) == ['images/train/b.jpg']
    assert list(trained_on('csv', tmp_path, 'test_labels')) == ['images/test/a.jpg']


@pytest.mark.parametrize('lines, hint', [
    ('0,20,10,29,29|1,5,5,21,28|0,3,2,9,25', 'the classes of 3 objects are 3 different numbers, such as 25. If the'),
    ('1,2,19,20,1|1,2,19,20,2|1,2,19,20,3|2,3,19,20,3|3,3,19,20,3|4,4,19,20,2|5,5,19,20,1', None),
    ('1,2,19,20,a|1,2,19,20,b|1,2,19,20,3', None)])
def test_a_class_in_front_of_the_box_where_no_line_names_the_columns_gets_a_hint(write, lines, hint):
    data = read_annotated('csv', 'train', str(write(''.join('a.jpg,%s\n' % line for line in lines.split('|')))))
    assert [hint in fault.text for fault in hints(data, [(40, 30)])] == [True] * bool(hint)
