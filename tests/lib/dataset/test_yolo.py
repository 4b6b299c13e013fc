"""Data sets of YOLO text files, in the layouts that tools write."""
import cv2
import numpy as np
import pytest

from lib.dataset import make_dataset, read_annotated
from lib.errors import DatasetError

NAMES = 'names:\n  0: cat\n  1: big dog\n'


def add(folder, image, label=None):
    """An image of 40 x 30 pixels and its text file."""
    for path in (folder / image, folder / (label[0] if label else image)):
        path.parent.mkdir(parents=True, exist_ok=True)
    data = cv2.imencode('.png', np.full((30, 40, 3), 90, dtype=np.uint8))[1]
    (folder / image).write_bytes(data.tobytes())
    if label:
        (folder / label[0]).write_text(label[1])


@pytest.fixture
def folder(tmp_path):
    """images/train/{a,b}.png with labels for a alone."""
    add(tmp_path, 'images/train/a.png', ('labels/train/a.txt', '1 0.5 0.5 0.25 0.2\n\n0 0.5 0.5 1 1\n'))
    add(tmp_path, 'images/train/b.PNG')
    (tmp_path / 'data.yaml').write_text(NAMES)
    return tmp_path


def open_set(folder, **options):
    return make_dataset('yolo', 'train', str(folder), **options)


def test_centre_and_size_become_corners_in_pixels(folder):
    # x: (0.5 - 0.125) * 40 = 15 to (0.5 + 0.125) * 40 - 1 = 24; y: 0.4 * 30 = 12 to 0.6 * 30 - 1 = 17.
    imdb = open_set(folder)
    assert imdb.classes == ('__background__', 'cat', 'big dog') and imdb.image_set_index == ['images/train/a.png',
                                                                                             'images/train/b.PNG']
    first, second = imdb.gt_roidb()
    assert first['boxes'].tolist() == [[15, 12, 24, 17], [0, 0, 39, 29]] and first['gt_classes'].tolist() == [2, 1]
    assert len(second['boxes']) == 0 and (second['width'], second['height']) == (40, 30)


def test_of_a_polygon_the_bounding_box_is_taken(folder):
    (folder / 'labels/train/a.txt').write_text('0 0.25 0.1 0.5 0.2 0.25 0.5\n')     # x 10 to 20, y 3 to 15
    assert open_set(folder).gt_roidb()[0]['boxes'].tolist() == [[10, 3, 19, 14]]


@pytest.mark.parametrize('description, image, label', [
    ('train: images/train\n', 'images/train/c.jpg', 'labels/train/c.txt'),
    ('train: ../train/images\n', 'train/images/c.jpg', 'train/labels/c.txt'),
    ('path: /somewhere/else\ntrain: [pictures/a, pictures/b]\n', 'pictures/a/c.jpg', 'pictures/a/c.txt'),
    ('train: my_list.txt\n', 'any/images/where/c.jpg', 'any/labels/where/c.txt'),
    ('', 'train/c.jpg', 'train/c.txt')])
def test_layouts_of_several_tools_are_found(tmp_path, description, image, label):
    add(tmp_path, image, (label, '0 0.5 0.5 1 1\n'))
    (tmp_path / 'data.yaml').write_text(description + 'names: [cat]\n')
    (tmp_path / 'my_list.txt').write_text('./' + image + '\n')
    (tmp_path / 'pictures/b').mkdir(parents=True, exist_ok=True)
    (entry,) = open_set(tmp_path).gt_roidb()
    assert entry['boxes'].tolist() == [[0, 0, 39, 29]]


def test_names_come_from_a_list_too_or_from_the_config_which_may_take_some_of_them(folder):
    chosen = open_set(folder, classes=['big dog'])
    assert [entry['gt_classes'].tolist() for entry in chosen.gt_roidb()] == [[1], []]
    assert 'data.yaml: 1 object of classes that are not used: ' in chosen.data.faults[0].text
    (folder / 'data.yaml').unlink()
    assert open_set(folder, classes=['first', 'second']).gt_roidb()[0]['gt_classes'].tolist() == [2, 1]
    (folder / 'classes.txt').write_text('one\ntwo\n')
    assert open_set(folder).classes[1:] == ('one', 'two')
    with pytest.raises(DatasetError, match='no class three; there are one, two. Add it to the names there, or'):
        open_set(folder, classes=['three'])


def test_without_names_anywhere_the_remedy_is_told(folder):
    (folder / 'data.yaml').unlink()
    with pytest.raises(DatasetError,
                       match='expected class names in data.yaml or classes.txt, found none. Write them there, or set '
                                           'dataset.CLASSES'):
        open_set(folder)


@pytest.mark.parametrize('name, remedy', [
    ('data.YAML', r'data\.YAML has them: give its folder as the data set, and call it data\.yaml$'),
    ('cars.yaml', r'cars\.yaml has them: give its folder as the data set, and call it data\.yaml$'),
    ('voc.names', r'voc\.names has them: give its folder as the data set, and call it classes\.txt$'),
    ('set/data.yaml', r'set.data\.yaml has them: give its folder as the data set$')])
def test_a_file_that_may_have_the_names_is_told(folder, name, remedy):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / 'data.yaml').rename(folder / name)
    with pytest.raises(DatasetError, match=r'set dataset\.CLASSES\. Perhaps .*' + remedy):
        open_set(folder)


@pytest.mark.parametrize('name', ['classes.txt', 'obj.names', 'labels.txt', 'train/_darknet.labels',
                                  'train/labels/classes.txt'])
def test_lists_of_names_are_read_as_tools_call_them(folder, name):
    (folder / 'train/labels').mkdir(parents=True, exist_ok=True)
    (folder / 'data.yaml').unlink()
    (folder / name).write_text('one\ntwo\n')
    assert open_set(folder).classes[1:] == ('one', 'two')


def test_a_class_without_a_name_is_refused_or_left_out(folder):
    (folder / 'labels/train/a.txt').write_text('7 0.5 0.5 1 1\n0 0.5 0.5 1 1\n')
    with pytest.raises(DatasetError,
                       match=r"a\.txt: line 1 \(number 7\): unknown class 'number 7'; known are cat, big dog"):
        open_set(folder)
    assert open_set(folder, on_unknown_class='ignore').gt_roidb()[0]['gt_classes'].tolist() == [1]


@pytest.mark.parametrize('line', ['0 0.5 0.5 1', 'cat 0.5 0.5 1 1', '0 0.5 0.5 1 1 0.9', '0 0.5 0.5 1 nan',
                                  '0 20 15 10 8', '0'])
def test_a_bad_line_is_named_with_its_number(folder, line):
    (folder / 'labels/train/a.txt').write_text('0 0.5 0.5 1 1\n' + line + '\n')
    with pytest.raises(DatasetError,
                       match=r"labels/train/a\.txt: line 2: expected 'class cx cy w h', fractions of"):
        open_set(folder)


@pytest.mark.parametrize('text, message', [
    ('names: a, b', "names: expected a list of names or a mapping from class number to name, found 'a, b'. Correct"),
    ('names: {0: a, x: b}', "names: expected a list of names .* found x: 'b'. Correct it"),
    ('names:\n\t- a', 'line 2: not valid YAML: .* Lines begin with blanks, not with tabs'),
    ('names: []', 'found none. Write them there, or set dataset.CLASSES$'),
    ('names: [[a]]', 'names: expected a list of names'), ('names: {a: b}', 'names: expected a list of names'),
    ('nc: 3\nnames: [a, b]', 'nc says 3 classes, names has 2'),
    ('names: [a, a]', r"twice or empty: \['a'\]. Rename or remove them"),
    ('- a', "expected keys 'names', 'train' and so on"),
    ('a: [', 'line 1: not valid YAML'),
    ('train: "C:\\Users\\me"', r'line 1: not valid YAML: .*In double quotes a backslash begins a code: write single'),
    ('a: &x 1\nb: *x', r'line 2: not valid YAML: aliases are not read'),
    ('!!python/name:os.system x', 'not valid YAML'),
    ('# ' + 70000 * 'x', 'larger than 65536 bytes. Write the names into classes.txt')])
def test_a_bad_description_is_named(folder, text, message):
    (folder / 'data.yaml').write_text(text)
    with pytest.raises(DatasetError, match=message):
        open_set(folder)


def test_names_that_leave_the_folder_are_refused_and_missing_images_are_named(folder):
    (folder / 'train.txt').write_text('images/train/a.png\n../../etc/passwd\n')
    with pytest.raises(DatasetError, match="the name '../../etc/passwd' leads out of this folder; refused"):
        open_set(folder)
    (folder / 'train.txt').write_text('images/train/gone.png\n')
    with pytest.raises(FileNotFoundError, match=r'gone\.png: there is no such image'):
        open_set(folder)
    (folder / 'train.txt').write_text('images/gone/a.png\n')        # a folder that is not there, with labels
    (folder / 'labels' / 'gone').mkdir()
    (folder / 'labels' / 'gone' / 'a.txt').write_text('0 0.5 0.5 1 1\n')
    with pytest.raises(FileNotFoundError, match=r'images/gone/a\.png: there is no such image'):
        open_set(folder)
    with pytest.raises(FileNotFoundError,
                       match="there are no images of the set 'test': tried test.txt, images/test, test/images, test"):
        make_dataset('yolo', 'test', str(folder))
    (folder / 'images' / 'test').mkdir()
    with pytest.raises(DatasetError, match=r'there is no image .jpg .*in images/test\. Add some, or leave'):
        make_dataset('yolo', 'test', str(folder))


def test_a_set_without_any_labels_is_refused_and_not_taken_for_images_without_objects(folder):
    (folder / 'label').mkdir()
    (folder / 'labels/train/a.txt').rename(folder / 'label/a.txt')
    with pytest.raises(DatasetError, match=r'labels/train/a\.txt: there is no such file, nor labels of any other of .*'
                                           r'label/a\.txt is there: correct the name'):
        open_set(folder)
    (folder / 'labels/train/b.txt').touch()     # says that there is no object
    assert [len(entry['boxes']) for entry in open_set(folder).gt_roidb()] == [0, 0]


def test_two_images_with_the_same_file_of_labels_are_refused(folder):
    (folder / 'images/train/a.PNG').write_bytes((folder / 'images/train/a.png').read_bytes())
    with pytest.raises(DatasetError, match=r'labels/train/a\.txt: belongs to a.PNG and to a.png. Rename one'):
        open_set(folder)
    assert [picture.index for picture in read_annotated('yolo', 'train', str(folder)).pictures] == [
        'images/train/a.PNG', 'images/train/b.PNG']
    (folder / 'labels/train/a.txt').unlink()        # nothing to quarrel about
    (folder / 'labels/train/b.txt').touch()
    assert len(open_set(folder).gt_roidb()) == 3


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere: there is no such folder; expected a data set of YOLO'):
        open_set(tmp_path / 'nowhere')


@pytest.mark.parametrize('end', ['\n', '\r\n', '\r'])
def test_a_line_ends_as_in_all_text_files(folder, end):
    (folder / 'labels/train/a.txt').write_bytes((end.join(['0 0.5 0.5 1 1', '1 0.5 0.5 0.25 0.2', ''])).encode())
    assert open_set(folder).gt_roidb()[0]['gt_classes'].tolist() == [1, 2]


@pytest.mark.parametrize('sign', ['\f', '\v', '\x1c', '\x85', '\u2028'])
def test_a_sign_that_only_python_takes_for_the_end_of_a_line_is_none(folder, sign):
    (folder / 'labels/train/a.txt').write_bytes(('0 0.5 0.5 1 1%s1 0.5 0.5 0.25 0.2\n' % sign).encode())
    with pytest.raises(DatasetError, match=r"labels/train/a\.txt: line 1: expected 'class cx cy w h'"):
        open_set(folder)
