"""YOLO's text files and data.yaml as tools write them: what is read, what is told, what is refused."""
import os

import pytest

from lib.dataset import faults as kinds
from lib.dataset import read_annotated
from lib.dataset.check.changes import plan_changes
from lib.dataset.check.fix import write_fixed
from lib.dataset.check.report import check
from lib.errors import DatasetError
from tests.lib.dataset.conftest import trained_on, write_files

NAMES = 'names: [cat, dog]\n'
LINE = '0 0.25 0.5 0.1 0.2\n'                           # of 40 x 30 pixels: 8 to 11, 12 to 17
READ = [('cat', [8, 12, 11, 17])]


@pytest.fixture
def write(tmp_path):
    """A function (files) -> folder with data.yaml, a picture and its labels, unless the files say otherwise."""
    def write(files=(), line=LINE, names=NAMES):
        return write_files(tmp_path / 'set', dict({
            'data.yaml': names, 'images/train/a.jpg': None, 'labels/train/a.txt': line}, **dict(files)))
    return write


@pytest.mark.parametrize('place', ['images', 'labels'])
def test_an_image_whose_labels_are_an_xml_file_is_told(write, place):
    folder = write({'images/train/b.jpg': None, 'images/train/c.jpg': None, place + '/train/a.xml': '',
                    place + '/train/c.xml': ''})
    assert faults_of(folder) == {kinds.UNLABELLED: '%s: 1 image without labels, but with an XML file, which does not '
                                 'count, such as %s' % (folder, folder / place / 'train' / 'c.xml')}


@pytest.mark.parametrize('number', ['0', '0.0', '00', '0e0', '0.000e+00', '+0', '-0'])
def test_a_class_number_may_be_written_in_any_way(write, number):
    assert trained_on('yolo', write(line=number + LINE[1:])) == {'images/train/a.jpg': READ}
    one = {'0': '1', '0.0': '1.0', '00': '01', '0e0': '1e0', '0.000e+00': '1.000e+00', '+0': '+1', '-0': '1'}[number]
    assert trained_on('yolo', write(line=one + LINE[1:])) == {'images/train/a.jpg': [('dog', READ[0][1])]}


@pytest.mark.parametrize('line, message', [
    ('0.5 0.25 0.5 0.1 0.2', 'expected a whole number as class'), ('nan 0.2 0.5 0.1 0.2', 'whole number as class'),
    ('-1 0.25 0.5 0.1 0.2', "unknown class 'number -1'; known are cat, dog"),
    ('2 0.25 0.5 0.1 0.2', "unknown class 'number 2'"),
    ('cat 0.2 0.5 0.1 0.2', "expected 'class cx cy w h'"), ('1e300 0.2 0.5 0.1 0.2', 'whole number as class'),
    ('0 0.2 0.5 0.1', "expected 'class cx cy w h'"),
    ('0 10 15 4 6', "expected 'class cx cy w h', fractions.* Divide pixels by the width"),
    ('0 12 8 60 8 60 48 12 48', "expected 'class cx cy w h', fractions.* Divide pixels by the width"),
    ('0 0,2 0,5 0,1 0,2', "expected 'class cx cy w h'"),
    ('0,0.2,0.5,0.1,0.2', "expected 'class cx cy w h'"), ('0 nan 0.5 0.1 0.2', "expected 'class cx cy w h'"),
    ('0 0.25 0.5 0.1 0.2 0.9', "expected 'class cx cy w h'.* Take a score behind the box away; of a turned"),
    ('0 0.25 0.5 0.1 0.2 0.2 0.4 2 0.3 0.5 1', "expected 'class cx cy w h'.* data.yaml must state kpt_shape"),
    ('# boxes', "expected 'class cx cy w h'")])
def test_a_line_that_is_no_box_is_an_error_with_its_place(write, line, message):
    with pytest.raises(DatasetError, match=r'a\.txt: line 1.*' + message):
        trained_on('yolo', write(line=line))


@pytest.mark.parametrize('chosen', [None, ['1', '2']])
def test_a_class_number_without_a_name_is_not_the_class_of_that_name(write, chosen):
    folder = write(line='3' + LINE[1:], names='names: ["1", "2", "3"]\n')       # numbers begin with 0
    with pytest.raises(DatasetError, match="unknown class 'number 3'; known are 1, 2"):
        trained_on('yolo', folder, classes=chosen)


@pytest.mark.parametrize('shape, line', [
    ('', '0 0.2 0.4 0.3 0.4 0.3 0.6'), ('', '0 0.2 0.4 0.3 0.4 0.3 0.6 0.2 0.6'),        # a triangle, a turned box
    ('kpt_shape: [2, 2]\n', '0 0.25 0.5 0.1 0.2 0.9 0.9 0.1 0.1'),
    ('kpt_shape: [1, 3]\n', '0 0.25 0.5 0.1 0.2 .9 .9 2'),
    ('kpt_shape: [2, 2]\n', '0 0.25 0.5 0.1 0.2'), ('kpt_shape: null\n', '0 0.2 0.4 0.3 0.4 0.3 0.6 0.2 0.6')])
def test_segments_turned_boxes_and_poses_give_their_boxes(write, shape, line):
    assert trained_on('yolo', write(line=line, names=NAMES + shape)) == {'images/train/a.jpg': READ}


@pytest.mark.parametrize('shape, line, lines, told', [
    ('', '0 0.25 0.5 0.1 0.2 0.2 0.4 0.3 0.5 0.1 0.1', 3, True), ('', '0 0.25 0.5 0.1 0.2 0.2 0.4', 3, True),
    ('', '0 0.25 0.5 0.1 0.2 0.2 0.4', 2, False), ('kpt_shape: [1, 2]\n', '0 0.25 0.5 0.1 0.2 0.2 0.4', 3, False),
    ('', '0 0.2 0.4 0.3 0.4 0.3 0.6 0.2 0.6', 3, False), ('', LINE.strip(), 3, False),      # turned boxes; boxes
    ('', '0 0.2 0.4 0.3 0.4 0.3 0.6 0.2 0.6 0.2 0.4', 3, False)])                           # closed polygons
def test_lines_of_one_length_that_may_be_poses_are_told(write, shape, line, lines, told):
    faults = faults_of(write(line=(line + '\n') * lines, names=NAMES + shape))
    assert ('data.yaml must state kpt_shape' in faults.get(kinds.HINT, '')) == told


def test_polygons_of_several_numbers_of_corners_are_no_poses(write):
    assert faults_of(write(line='0 0.2 0.4 0.3 0.4 0.3 0.6\n' * 3 + '0 0.2 0.4 0.3 0.4 0.3 0.6 0.2 0.6\n')) == {}


@pytest.mark.parametrize('shape', ['[2]', '2', '[2, 2, 2]', '[a, b]', '[2, 0]', '[2, 4]', '"[2,2]"'])
def test_a_kpt_shape_that_is_none_is_refused(write, shape):
    with pytest.raises(DatasetError, match=r'data\.yaml: kpt_shape: expected \[number of key points, 2 or 3\], found'):
        trained_on('yolo', write(names=NAMES + 'kpt_shape: %s\n' % shape))


def test_poses_of_another_number_of_points_are_refused(write):
    with pytest.raises(DatasetError, match='and 6 numbers of key points, found'):
        trained_on('yolo', write(line='0 0.25 0.5 0.1 0.2 0.9 0.9 0.1 0.1', names=NAMES + 'kpt_shape: [2, 3]\n'))


@pytest.mark.parametrize('names, classes', [
    ('[yes, no]', ('yes', 'no')), ('[on, Off]', ('on', 'Off')), ('[null, ~]', ('null', '~')),
    ('[1.0, 2]', ('1.0', '2')),
    ('[2020-01-01, 1e3]', ('2020-01-01', '1e3')), ('{1: dog, 0: cat}', ('cat', 'dog')),
    ('{0: yes, 1: no}', ('yes', 'no')),
    ('{"0": cat, "1": dog}', ('cat', 'dog')), ('[0x1F, .inf]', ('0x1F', '.inf')), ('\n- Y\n- N', ('Y', 'N'))])
def test_names_keep_their_text(write, names, classes):
    assert read_annotated('yolo', 'train', str(write(names='names: %s\n' % names))).classes == classes


@pytest.mark.parametrize('names', [
    '{cat: 0, dog: 1}', 'cat', '5', '[[cat], [dog]]', '{0: {name: cat}}', '{-1: cat, 0: dog}', '[cat, cat]',
    '[cat, ""]', '{0: cat, 0: dog}', '{0: cat, 00: dog}',
    '[cat]\nnc: 2.0', '[cat]\nnc: two', '[cat]\nnc: 2', '[cat, dog]\nnc: 3'])
def test_names_that_mean_nothing_are_refused(write, names):
    with pytest.raises(DatasetError, match=r'data\.yaml'):
        read_annotated('yolo', 'train', str(write(names='names: %s\n' % names)))


@pytest.mark.parametrize('entry', [
    'train: images/train', 'train: ./images/train/', 'train: ../images/train', 'train: images\\train', 'train: images',
    'train: [images/train]', 'train: list.txt', 'train: [list.txt, images/train]', 'train: @/images/train', 'train: .',
    'train:', 'train: ~', 'path: /other/machine\ntrain: images/train', 'path: D:\\data\ntrain: images\\train',
    'path: @\ntrain: images/train', 'path: images\ntrain: train', 'val: images/nowhere', 'train: images/train/a.jpg'])
def test_entries_of_the_description_are_resolved(write, tmp_path, entry):
    folder = write({'list.txt': './images/train/a.jpg\r\n"images/train/a.jpg"\nimages\\train\\a.jpg\n'},
                   names=NAMES + entry.replace('@', str(tmp_path / 'set')) + '\n')
    assert trained_on('yolo', folder) == {'images/train/a.jpg': READ}


@pytest.mark.parametrize('entry, named', [
    ('images/train_v3', 'images/train_v3'), ('[images/train, images/nigth]', 'images/nigth'),
    ('nowhere.txt', 'nowhere.txt'),
    ('/other/machine/images/train', '/other/machine/images/train'), ('D:\\data\\train', 'D:/data/train'),
    ('../../elsewhere', '../../elsewhere'), ('5', '5')])
def test_an_entry_that_is_not_there_is_an_error_and_never_another_folder(write, entry, named):
    with pytest.raises(DatasetError, match=r"data\.yaml: train: there is no folder or list of images '%s'" % named):
        trained_on('yolo', write(names=NAMES + 'train: %s\n' % entry))


@pytest.mark.parametrize('entry, end', [
    ('/content/pets/images/train', 'images/train is there: correct the entry'),
    ('D:\\pets\\images\\train\\', 'images/train is there: correct the entry'), ('/x/trian', 'Correct the entry')])
def test_an_entry_of_another_computer_tells_what_is_there(write, entry, end):
    with pytest.raises(DatasetError, match=r'train: there is no folder or list of images .*\. %s$' % end):
        trained_on('yolo', write(names=NAMES + 'train: %s\n' % entry))


def test_an_entry_below_path_is_never_one_beside_it(write):
    folder = write({'new/images/trian/b.jpg': None}, names=NAMES + 'path: new\ntrain: images/train\n')
    with pytest.raises(DatasetError, match=r"no folder or list of images 'images/train' in .*new\. Correct the entry"):
        trained_on('yolo', folder)


@pytest.mark.parametrize('place, line', [
    ('lists/train.txt', '../images/train/a.jpg'), ('images/my.txt', './train/a.jpg'),
    ('lists/train.txt', 'images/train/a.jpg'), ('my.txt', './images/train/a.jpg'),
    ('my.txt', 'data/images/train/a.jpg')])
def test_a_line_of_a_list_is_a_path_from_the_data_set_or_from_the_list(write, place, line):
    assert trained_on('yolo', write({place: line}, names=NAMES + 'train: %s\n' % place)) == {'images/train/a.jpg': READ}


@pytest.mark.parametrize('line, message', [
    ('images/train/c.jpg', r'there is no such image, and .*list.txt: line 2 names it\. Add it, or take it out'),
    ('/old/images/train/a.jpg', r'list.txt: line 2: .* leads out of this folder; refused\. .*/a\.jpg is there'),
    ('C:\\old\\images\\train\\a.jpg', r'list.txt: line 2 names it\. .*images/train/a\.jpg is there: correct the name'),
    ('data/images/train/A.png', r'list.txt: line 2 names it\. .*images/train/a\.jpg is there: correct the name')])
def test_a_missing_image_is_named_with_the_line_of_its_list_and_the_one_that_is_meant(write, line, message):
    folder = write({'list.txt': 'images/train/a.jpg\n%s\n' % line}, names=NAMES + 'train: list.txt\n')
    with pytest.raises((DatasetError, FileNotFoundError), match=message):
        trained_on('yolo', folder)
    assert len(read_annotated('yolo', 'train', str(folder)).faults) == 1


def test_an_image_that_is_listed_twice_is_taken_once_and_told(write, caplog):
    folder = write({'list.txt': 'images/train/a.jpg\n./images/train/a.jpg\n'}, names=NAMES + 'train: list.txt\n')
    assert trained_on('yolo', folder) == {'images/train/a.jpg': READ}
    assert any('list.txt: line 2: lists images/train/a.jpg again; it is taken once' in text for text in caplog.messages)


@pytest.mark.parametrize('place, content, told', [
    ('classes.txt', 'dog\ncat\n', 1), ('labels/train/classes.txt', 'dog\n', 1), ('classes.txt', 'cat\r\ndog', 0)])
def test_a_list_of_class_names_that_contradicts_data_yaml_is_told(write, place, content, told, caplog):
    assert trained_on('yolo', write({place: content})) == {'images/train/a.jpg': READ}
    message = '%s: its class names are not those that count: cat, dog' % place
    assert sum(message in text for text in caplog.messages) == told


@pytest.mark.parametrize('names, good', [('cat\n\ndog\n', False), ('\ncat\n', False), ('cat\ndog\n\n\n', True)])
def test_a_blank_line_before_a_class_name_is_refused_since_lines_are_numbers(tmp_path, names, good):
    write_files(tmp_path, {'classes.txt': names, 'images/train/a.jpg': None, 'labels/train/a.txt': LINE})
    if good:
        assert trained_on('yolo', tmp_path) == {'images/train/a.jpg': READ}
    else:
        with pytest.raises(DatasetError, match=r'classes\.txt: line [12] is blank: .* Remove it'):
            trained_on('yolo', tmp_path)


@pytest.mark.parametrize('key, image_set', [('val', 'val'), ('valid', 'val'), ('validation', 'val'), ('val', 'valid'),
                                            ('train', 'train'), ('test', 'test')])
def test_an_export_of_roboflow_is_found_for_every_set(write, key, image_set):
    folder = write({'valid/images/c.jpg': None, 'valid/labels/c.txt': LINE}, names=NAMES + key + ': ../valid/images\n')
    assert trained_on('yolo', folder, image_set) == {'valid/images/c.jpg': READ}


@pytest.mark.parametrize('first', ['', './', '../'])
def test_an_entry_may_begin_with_the_name_of_the_data_sets_folder(tmp_path, first):
    folder = write_files(tmp_path / 'Cats-2', {'valid/images/c.jpg': None, 'valid/labels/c.txt': LINE,
                                               'data.yaml': NAMES + 'val: %sCats-2/valid/images\n' % first})
    assert trained_on('yolo', folder, 'val') == {'valid/images/c.jpg': READ}


@pytest.mark.parametrize('images, labels', [
    ('images/train', 'labels/train'), ('train/images', 'train/labels'), ('train', 'train'),
    ('images/train', 'images/train'),
    ('images/train/cam/images', 'images/train/cam/labels'), ('images/train/images', 'images/train/images'),
    ('Images/train', 'Labels/train'), ('train', 'train/labels'), ('train', 'labels/train')])
def test_labels_are_found_wherever_tools_put_them(tmp_path, images, labels):
    folder = write_files(tmp_path / 'images' / 'farm', {images + '/a.jpg': None, labels + '/a.txt': LINE, 'data.yaml':
                                                        NAMES + 'train: %s\n' % images})
    assert trained_on('yolo', folder) == {images + '/a.jpg': READ}


def faults_of(folder):
    return {fault.kind: fault.text for fault in read_annotated('yolo', 'train', str(folder)).faults}


def test_a_folder_of_images_without_labels_beside_others_is_told(write):
    folder = write({'images/train/cam2/b.jpg': None, 'labels/train/b.txt': LINE})
    assert 'images/train/cam2: none of its 1 image has labels, such as %s' % (folder / 'labels/train/cam2/b.txt') \
        in faults_of(folder)[kinds.UNLABELLED]
    assert trained_on('yolo', folder)['images/train/cam2/b.jpg'] == []


@pytest.mark.parametrize('name', ['b.TXT', 'b.jpg.txt', 'c.txt'])
def test_labels_that_no_image_has_are_told(write, name):
    folder = write({'images/train/b.jpg': None, 'labels/train/' + name: LINE, 'labels/train/classes.txt': 'cat\n'})
    assert faults_of(folder) == {kinds.BESIDE: '%s: 1 file belongs to no image, such as %s'
                                               % (folder / 'labels/train', name)}


def test_labels_of_another_set_in_the_same_folder_are_none_of_these(write):
    folder = write({'images/train/b.jpg': None, 'labels/train/b.txt': LINE, 'train.txt': 'images/train/a.jpg\n'})
    assert faults_of(folder) == {} and list(trained_on('yolo', folder)) == ['images/train/a.jpg']


def test_hidden_files_and_the_folders_of_systems_belong_to_no_folder(write):
    folder = write({'images/train/._a.jpg': b'\0', 'images/train/.DS_Store': b'\0', 'labels/train/._a.txt': b'\0',
                    '._data.yaml': b'\xff', '.train.txt': 'x', 'images/train/.ipynb_checkpoints/c.jpg': None,
                    'images/train/@eaDir/a.jpg/THUMB_M.jpg': None, 'images/train/#recycle/d.jpg': None,
                    'images/train/$RECYCLE.BIN/e.jpg': None})
    assert trained_on('yolo', folder) == {'images/train/a.jpg': READ} and faults_of(folder) == {}


def test_linked_folders_are_followed_and_other_links_are_told(write, tmp_path):
    other = write_files(tmp_path / 'other', {'pictures/b.jpg': None, 'texts/b.txt': LINE})
    folder = write()
    for name, target in (('images/train/batch2', other / 'pictures'), ('labels/train/batch2', other / 'texts')):
        (folder / name).symlink_to(target)
    assert trained_on('yolo', folder) == {'images/train/a.jpg': READ, 'images/train/batch2/b.jpg': READ}
    for name, target, told in (('loop', folder / 'images', 'loop/train: a link to'), ('self', 'self', 'leads nowhere'),
                               ('gone', '/nowhere', 'leads nowhere'), ('twice', other / 'pictures', 'a link to')):
        (folder / 'images/train' / name).symlink_to(target)
        assert told in faults_of(folder)[kinds.LINK] and len(trained_on('yolo', folder)) == 2
        (folder / 'images/train' / name).unlink()


def test_a_picture_is_known_by_its_own_path_not_by_that_of_a_link_to_its_folder(write):
    folder = write({'data.yaml': 'names: [cat]\ntrain: images'})
    (folder / 'images/again').symlink_to(folder / 'images/train')
    assert trained_on('yolo', folder) == {'images/train/a.jpg': READ}
    assert 'images/again: a link to' in faults_of(folder)[kinds.LINK]


def test_a_link_that_a_copy_made_a_text_file_of_is_told(write, tmp_path):
    write_files(tmp_path, {'other/b.jpg': None})
    folder = write({'images/train/batch2': '../../../other', 'images/train/LICENSE': 'free', 'images/train/x': b'\0/'})
    assert list(faults_of(folder)) == [kinds.LINK]
    assert 'batch2: a text file in the place of a link' in faults_of(folder)[kinds.LINK]


@pytest.mark.parametrize('make', [lambda path: path.symlink_to('/nowhere'), os.mkfifo], ids=['broken link', 'pipe'])
@pytest.mark.parametrize('name', ['images/train/b.jpg', 'labels/train/a.txt'])
def test_a_link_that_leads_nowhere_and_a_pipe_are_named_where_a_file_should_be(write, make, name):
    folder = write()
    if (folder / name).exists():
        (folder / name).unlink()
    make(folder / name)
    with pytest.raises((DatasetError, FileNotFoundError), match=os.path.basename(name)):
        trained_on('yolo', folder)


@pytest.mark.parametrize('name', ['caf\udce9', 'a\\b', 'a\nb'], ids=ascii)
def test_the_cleaned_copy_lists_no_image_that_its_list_would_not_give_back(write, tmp_path, name):
    folder = write({'images/train/%s.jpg' % name: None, 'labels/train/%s.txt' % name: LINE})
    data = read_annotated('yolo', 'train', str(folder))
    with pytest.raises(DatasetError, match='expected the name of an image in UTF-8, without .*Rename the image'):
        write_fixed(data, plan_changes(check(data)), 'train', str(folder), str(tmp_path / 'out'))
