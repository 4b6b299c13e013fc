"""XML files as tools write them: what is read, what is told, what is refused."""
import os

import pytest

from lib.dataset import faults as kinds
from lib.dataset import read_annotated
from lib.dataset.check.changes import plan_changes
from lib.dataset.check.fix import write_fixed
from lib.dataset.check.report import check
from lib.dataset.convert import convert
from lib.errors import DatasetError
from tests.lib.dataset.conftest import annotation_text, trained_on, write_files, write_picture

CAT = ('cat', 2, 3, 20, 21)
READ = [('cat', [1, 2, 19, 20])]
TEXT = annotation_text([CAT])


@pytest.fixture
def one(voc):
    """A function (content of the XML file of the only picture) -> the folder."""
    def write(content):
        voc.add('a')
        (voc.folder / 'Annotations' / 'a.xml').write_bytes(content if isinstance(content, bytes) else content.encode())
        return voc.folder
    return write


def rooted(tag):
    return TEXT.replace('annotation>', tag + '>')


@pytest.mark.parametrize('content', [
    TEXT.replace('<annotation>', '<annotation xmlns="http://x">'), '\ufeff' + TEXT, TEXT.replace('><', '>\r\n<'),
    TEXT.replace('<annotation>', '<v:annotation xmlns:v="x">').replace('</annotation>', '</v:annotation>'),
    rooted('Annotation'), rooted('ANNOTATION'), TEXT.replace('object>', 'Object>'), TEXT.replace('xmin>', 'XMin>'),
    TEXT.replace('>cat<', '><![CDATA[cat]]><'), ('<?xml version="1.0" encoding="utf-16"?>' + TEXT).encode('utf-16'),
    '<?xml version="1.0" encoding="latin-1"?>' + TEXT, '<!DOCTYPE annotation SYSTEM "x.dtd">' + TEXT,
    TEXT.replace('</object>', '<part><name>ear</name><bndbox><xmin>1</xmin></bndbox></part></object>')])
def test_xml_that_means_the_same_is_read_alike(one, content):
    assert trained_on('PascalVOC', one(content)) == {'JPEGImages/a.jpg': READ}


def test_a_class_name_on_two_lines_is_one(one):
    assert trained_on('PascalVOC', one(TEXT.replace('>cat<', '>\n  big\n  cat\n<'))) == {
        'JPEGImages/a.jpg': [('big cat', READ[0][1])]}


@pytest.mark.parametrize('flag', ['<difficult>1</difficult>', '<Difficult> true </Difficult>', '<ignore>1</ignore>',
                                  '<iscrowd>1</iscrowd>'])
def test_a_flagged_object_is_not_trained_on(one, flag):
    other = annotation_text([CAT, ('dog', 5, 5, 30, 20)]).replace('<name>dog</name><difficult>0</difficult>',
                                                                 '<name>dog</name>' + flag)
    assert trained_on('PascalVOC', one(other)) == {'JPEGImages/a.jpg': READ}


@pytest.mark.parametrize('content, message', [
    (rooted('doc'), r'whose root is <annotation>, found <doc>: the file of another tool. Export the data as PASCAL'),
    (rooted('annotations'), r'found <annotations> \(of CVAT\?\)'),
    ('', 'expected XML: no element found'), ('{"a": 1}', 'expected XML: not well-formed'),
    (TEXT.replace('<object>', '<objects><object>').replace('</object>', '</object></objects>'),
     'directly within <annotation>, found 1 <object> elsewhere'),
    (TEXT.replace('object>', 'item>'), 'directly within <annotation>, found 1 <bndbox> elsewhere'),
    (TEXT.replace('</bndbox>', '</bndbox><bndbox/>'), r"object 0 \(cat\) has no <bndbox> of four numbers"),
    (TEXT.replace('<xmin>2<', '<xmin>2,5<'), r"of four numbers xmin, ymin, xmax, ymax, found xmin='2,5', ymin='3'"),
    (TEXT.replace('cat', '\u6c7d\u8f66').encode('gb2312'), r'byte 0xc6 at position \d+ is not UTF-8 \(another'),
    (('<?xml version="1.0" encoding="gb2312"?>' + TEXT).encode(), 'Its encoding is gb2312: save it as UTF-8'),
    ('<?xml version="1.0" encoding="utf-16"?>' + TEXT, 'Its encoding is utf-16: save it as UTF-8')])
def test_what_is_no_annotation_of_voc_is_refused_and_never_an_image_without_objects(one, content, message):
    with pytest.raises(DatasetError, match=r'a\.xml: .*' + message):
        trained_on('PascalVOC', one(content))


@pytest.mark.parametrize('lines', [
    '"a"\n', "'a'\n", 'a.jpg\n', 'a.JPG\n', 'a.xml\n', 'a\r\n', '\ufeffa\n', '"a.jpg"\n', 'a 1\n', '"a" -1\n',
    '  a\n\n',    'JPEGImages/a.jpg\n', 'Annotations/a.xml\n', 'JPEGImages\\a.jpg\n', './a\n',
    '@/JPEGImages/a.jpg\n', '@/Annotations/a.xml\n'])
def test_names_in_a_list_are_understood_as_tools_write_them(voc, lines):
    voc.add('a', [CAT])
    (voc.folder / 'ImageSets/Main/train.txt').write_bytes(lines.replace('@', str(voc.folder)).encode())
    assert trained_on('PascalVOC', voc.folder) == {'JPEGImages/a.jpg': READ}


@pytest.mark.parametrize('lines', ['b\n', 'a,b\n', '#a\n'])
def test_a_list_of_other_names_says_which_file_is_not_there(voc, lines):
    voc.add('a', [CAT])
    (voc.folder / 'ImageSets/Main/train.txt').write_text(lines)
    with pytest.raises(FileNotFoundError, match=r'\.xml: there is no such annotation file, nor .* in .*train\.txt'
                                                r'\. Correct the names, or add'):
        trained_on('PascalVOC', voc.folder)


def test_a_link_in_place_of_a_picture_that_leads_nowhere_is_told(voc):
    voc.add('a', [CAT])
    (voc.folder / 'JPEGImages/a.jpg').unlink()
    (voc.folder / 'JPEGImages/a.jpg').symlink_to('/nowhere')
    with pytest.raises(FileNotFoundError, match='JPEGImages/a: .* a.jpg leads nowhere .* Put the image there, or'):
        trained_on('PascalVOC', voc.folder)


@pytest.mark.parametrize('name', ['/other/JPEGImages/a.jpg', 'C:\\me\\JPEGImages\\a.jpg', '../a.jpg'])
@pytest.mark.parametrize('others, there', [((), 'Annotations/a.xml'), (('b',), 'JPEGImages/a.jpg')])
def test_the_file_that_a_path_of_another_computer_means_is_told(voc, name, others, there):
    for each in ('a',) + others:
        voc.add(each, [CAT])
    voc.list_images('train', (name,) + others)
    with pytest.raises((DatasetError, FileNotFoundError), match=r'train\.txt.*%s is there: correct the name' % there):
        trained_on('PascalVOC', voc.folder)


def test_a_list_that_is_meant_is_told(voc):
    voc.add('a', [CAT])
    (voc.folder / 'ImageSets/Main/train.txt').rename(voc.folder / 'ImageSets/Main/train.TXT')
    with pytest.raises(FileNotFoundError, match=r'train\.txt: there is no such file.*train\.TXT is there: correct'):
        trained_on('PascalVOC', voc.folder)


@pytest.mark.parametrize('others', [(), ('b',)])        # none of the list has its annotation, or one
def test_an_annotation_in_a_folder_that_the_list_does_not_name_is_told(voc, others):
    for name in others:
        voc.add(name, [CAT])
    write_files(voc.folder, {'Annotations/cam1/a.xml': TEXT, 'JPEGImages/cam1/a.jpg': None})
    voc.list_images('train', ('a',) + others)
    with pytest.raises(FileNotFoundError, match=r'Annotations/a\.xml: there is no .*/cam1/a\.xml is there: correct'):
        trained_on('PascalVOC', voc.folder)


def test_a_picture_whose_annotation_lies_in_a_folder_of_its_own_is_told(tmp_path):
    folder = write_files(tmp_path / 'pets', {'annotations/xmls/a.xml': TEXT, 'images/a.jpg': None})
    with pytest.raises(FileNotFoundError, match=r'images/xmls/a: there is no image .*images/a\.jpg is there'):
        trained_on('PascalVOC', folder, '.')


@pytest.mark.parametrize('annotation, picture, listed', [
    ('a', 'A.jpg', 'a'), ('a', 'a.jpg', 'A'), ('caf\u00e9', 'cafe\u0301.jpg', 'caf\u00e9'),
    ('caf\u00e9', 'caf\u00e9.jpg', 'cafe\u0301')])
def test_a_file_that_is_meant_is_told_where_the_name_of_one_differs_in_spelling(voc, annotation, picture, listed):
    if os.path.exists(str(voc.folder / 'annotations')):
        pytest.skip('names differ in upper case alone on this file system')
    write_files(voc.folder, {'Annotations/%s.xml' % annotation: TEXT, 'JPEGImages/' + picture: None,
                             'ImageSets/Main/train.txt': listed})
    with pytest.raises(FileNotFoundError, match=r'(%s|%s\.xml) is there(, in another Unicode form)?: correct the name'
                       % (picture, annotation)):
        trained_on('PascalVOC', voc.folder)


def test_a_broken_annotation_is_the_reason_and_not_that_its_list_names_it_twice(one):
    folder = one('no XML')
    (folder / 'ImageSets/Main/train.txt').write_text('a\na\n')
    with pytest.raises(DatasetError, match='expected XML'):
        trained_on('PascalVOC', folder)


def test_annotations_in_sub_folders_are_found(voc):
    for name in ('cam1', 'cam2'):
        (voc.folder / 'Annotations' / name).mkdir()
        (voc.folder / 'JPEGImages' / name).mkdir()
        voc.add(name + '/a', [CAT])
    assert trained_on('PascalVOC', voc.folder) == {'JPEGImages/cam1/a.jpg': READ, 'JPEGImages/cam2/a.jpg': READ}


@pytest.mark.parametrize('content', ['no XML', TEXT, rooted('doc')])
def test_xml_that_no_list_names_is_told_and_does_not_count(voc, content, caplog):
    voc.add('a', [CAT])
    (voc.folder / 'Annotations' / 'draft.xml').write_text(content.replace('cat', 'draft'))
    assert trained_on('PascalVOC', voc.folder) == {'JPEGImages/a.jpg': READ}
    assert any('draft.xml is in no list of images and does not count' in text for text in caplog.messages)


def test_names_that_begin_with_a_dot_belong_to_no_folder(voc):
    voc.add('a', [CAT])
    for name in ('Annotations/._a.xml', 'Annotations/.DS_Store', 'JPEGImages/._a.jpg', 'ImageSets/Main/._train.txt',
                 'Annotations/.ipynb_checkpoints/b.xml', '._classes.txt'):
        write_files(voc.folder, {name: b'\0\5\xff'})
    report = check(read_annotated('PascalVOC', 'train', str(voc.folder)))
    assert report.faults == [] and trained_on('PascalVOC', voc.folder) == {'JPEGImages/a.jpg': READ}


@pytest.mark.parametrize('filename', ['a.bmp', 'C:\\photos\\a.bmp', '/home/me/a.bmp', 'a.bmp '])
def test_the_file_that_filename_names_comes_first_and_another_one_is_told(one, filename, caplog):
    folder = one(annotation_text([CAT], filename=filename))
    write_picture(folder / 'JPEGImages' / 'a.bmp')
    assert trained_on('PascalVOC', folder) == {'JPEGImages/a.bmp': READ}
    assert any('a.bmp or %s; the first is taken' % (folder / 'JPEGImages' / 'a.jpg') in text
               for text in caplog.messages)


@pytest.mark.parametrize('filename, other', [('a.jpg', 'a.JPG'), ('a.JPG', 'a.jpg')])
def test_of_files_that_differ_in_upper_case_the_named_one_is_taken_and_the_other_told(one, filename, other, caplog):
    folder = one(annotation_text([CAT], filename=filename))
    (folder / 'JPEGImages' / 'a.JPG').write_bytes((folder / 'JPEGImages' / 'a.jpg').read_bytes())
    assert trained_on('PascalVOC', folder) == {'JPEGImages/' + filename: READ}
    assert any('%s; the first is taken' % (folder / 'JPEGImages' / other) in text for text in caplog.messages)


@pytest.mark.parametrize('filename', ['', 'other.png', 'a', '._a.jpg', '../../x.bmp'])
def test_without_that_file_the_one_of_the_annotation_s_name_is_taken(one, filename):
    assert trained_on('PascalVOC', one(annotation_text([CAT], filename=filename))) == {'JPEGImages/a.jpg': READ}


def test_two_annotations_of_one_file_stop_training_and_conversion(voc, tmp_path):
    voc.add('a', [CAT], filename='b.jpg').add('b', [CAT])
    for use in (lambda: trained_on('PascalVOC', voc.folder),
                lambda: convert('PascalVOC', 'coco', ['train'], str(voc.folder), str(tmp_path / 'out'))):
        with pytest.raises(DatasetError, match=r'b\.jpg: is the image of a \(.*a\.xml\) and of b \(.*b\.xml\), so'):
            use()
    (voc.folder / 'JPEGImages' / 'a.jpg').unlink()
    with pytest.raises(DatasetError, match='is the image of a'):
        trained_on('PascalVOC', voc.folder)


@pytest.mark.parametrize('image_set, folder', [('train', 'train'), ('val', 'valid'), ('.', '.'), ('train', 'train/b')])
def test_pictures_and_xml_side_by_side_are_a_set(tmp_path, image_set, folder):
    write_files(tmp_path, {folder + '/a.jpg': None, folder + '/a.xml': TEXT, folder + '/c.jpg': None})
    found = trained_on('PascalVOC', tmp_path, image_set)
    assert found[os.path.normpath(folder + '/a.jpg')] == READ and found[os.path.normpath(folder + '/c.jpg')] == []


def test_the_labels_of_another_set_in_use_are_classes_where_it_lies_in_sub_folders(tmp_path):
    write_files(tmp_path, {'train/a.jpg': None, 'train/a.xml': TEXT, 'valid/b/c.jpg': None,
                           'valid/b/c.xml': TEXT.replace('cat', 'dog')})
    assert read_annotated('PascalVOC', 'train', str(tmp_path), sets=['train', 'val']).classes == ('cat', 'dog')
    assert read_annotated('PascalVOC', 'train', str(tmp_path), sets=['train', 'gone']).classes == ('cat',)


def test_empty_folders_beside_pictures_and_xml_do_not_matter(tmp_path):
    write_files(tmp_path, {'a.jpg': None, 'a.xml': TEXT})
    for name in ('annotations', 'images'):
        (tmp_path / name).mkdir()
    assert trained_on('PascalVOC', tmp_path, '.') == {'a.jpg': READ}


def test_the_folders_of_fiftyone_are_read(tmp_path):
    write_files(tmp_path, {'labels/a.xml': TEXT, 'data/a.jpg': None, 'ImageSets/Main/notes': 'no list'})
    assert trained_on('PascalVOC', tmp_path, '.') == {'data/a.jpg': READ}


def test_folders_of_another_format_are_told(tmp_path):
    write_files(tmp_path, {'labels/train/a.txt': '0 0.5 0.5 1 1', 'images/train/a.jpg': None, 'classes.txt': 'cat'})
    with pytest.raises(FileNotFoundError, match='found none. The folder looks like dataset.dataset=yolo with .* train'):
        trained_on('PascalVOC', tmp_path, '.')


def test_pictures_and_xml_beside_two_folders_of_them_are_told(tmp_path):
    write_files(tmp_path, {'a.jpg': None, 'a.xml': TEXT, 'images/b.jpg': None, 'annotations/b.xml': TEXT})
    data = read_annotated('PascalVOC', '.', str(tmp_path))
    assert [picture.name for picture in data.pictures] == ['b.jpg']
    assert any('in this folder itself too: not used. Move them' in fault.text for fault in data.faults)


def test_a_list_that_is_none_of_the_sets_in_use_adds_no_class(voc):
    voc.add('a', [CAT]).add('b', [('dog', 5, 5, 30, 20)]).add('c', [('draft', 5, 5, 30, 20)])
    for name in 'train', 'valid', 'old':
        voc.list_images(name, [{'train': 'a', 'valid': 'b', 'old': 'c'}[name]])
    classes = [read_annotated('PascalVOC', 'train', str(voc.folder), sets=sets).classes
               for sets in (['train', 'val'], ['train'], None)]
    assert classes == [('cat', 'dog'), ('cat',), ('cat', 'dog', 'draft')]


@pytest.mark.parametrize('places, kind, told', [
    (('', ''), kinds.UNLABELLED, 'without an XML file: taken as images without objects'),
    (('Annotations/', 'images/'), kinds.BESIDE, 'without an XML file: not used')])
def test_pictures_without_a_file_where_others_have_one_are_told(tmp_path, places, kind, told):
    write_files(tmp_path, {places[0] + 'a.xml': TEXT, places[1] + 'a.jpg': None})
    assert read_annotated('PascalVOC', '.', str(tmp_path)).faults == []
    write_files(tmp_path, {places[1] + 'b.jpg': None})
    fault, = read_annotated('PascalVOC', '.', str(tmp_path)).faults
    assert fault.kind == kind and '1 picture %s, such as b.jpg' % told in fault.text


def test_pictures_that_have_labels_of_yolo_where_others_have_xml_files_are_counted(tmp_path):
    write_files(tmp_path, {'a.jpg': None, 'a.xml': TEXT, 'a.txt': '', 'b.jpg': None, 'c.jpg': None, 'c.txt': '0 1 1 1'})
    fault, = read_annotated('PascalVOC', '.', str(tmp_path)).faults
    assert fault.text.endswith('2 pictures without an XML file: taken as images without objects; 1 of them with a text '
                               'file, which does not count (labels of YOLO?), such as c.jpg')


@pytest.mark.parametrize('image_set, files', [
    ('.', {'a.jpg': None, 'b.jpg': None, 'b.xml': TEXT, 'a.XML': TEXT}),
    ('.', {'JPEGImages/a.jpg': None, 'Annotations/a.XML': TEXT}),
    ('train', {'JPEGImages/a.jpg': None, 'Annotations/a.XML': TEXT, 'ImageSets/Main/train.txt': 'a\n'})])
def test_an_extension_in_capitals_loses_no_box(tmp_path, image_set, files):
    found = trained_on('PascalVOC', write_files(tmp_path, files), image_set)
    assert list(found.values()) == [READ] * sum(name.lower().endswith('.xml') for name in files)


def test_the_copy_of_two_folders_without_lists_is_such_folders(tmp_path):
    write_files(tmp_path, {'in/Annotations/a.xml': TEXT, 'in/images/a.jpg': None})
    data = read_annotated('PascalVOC', '.', str(tmp_path / 'in'))
    report = check(data)
    write_fixed(data, plan_changes(report), '.', str(tmp_path / 'in'), str(tmp_path / 'out'))
    assert trained_on('PascalVOC', tmp_path / 'out', '.') == {'images/a.jpg': READ}


def test_a_class_whose_objects_are_all_left_out_stays_a_class_of_the_copy(voc, tmp_path):
    voc.add('a', [('ant', 200, 3, 220, 21), CAT])
    data = read_annotated('PascalVOC', 'train', str(voc.folder))
    write_fixed(data, plan_changes(check(data)), 'train', str(voc.folder), str(tmp_path / 'out'))
    assert read_annotated('PascalVOC', 'train', str(tmp_path / 'out')).classes == ('ant', 'cat')


@pytest.mark.parametrize('make', [lambda path: path.symlink_to('/nowhere/a.jpg'), lambda path: path.symlink_to('a.jpg'),
                                  os.mkfifo, os.mkdir], ids=['broken link', 'link to itself', 'pipe', 'folder'])
@pytest.mark.parametrize('name', ['JPEGImages/a.jpg', 'Annotations/a.xml'])
def test_links_that_lead_nowhere_pipes_and_folders_are_named(voc, make, name):
    voc.add('a', [CAT])
    (voc.folder / name).unlink()
    make(voc.folder / name)
    with pytest.raises((DatasetError, FileNotFoundError), match=os.path.splitext(name)[0]):
        trained_on('PascalVOC', voc.folder)


def test_linked_folders_are_followed_and_loops_are_left_out(voc, tmp_path):
    voc.add('a', [CAT])
    (voc.folder / 'Annotations' / 'loop').symlink_to(voc.folder / 'Annotations')
    linked = tmp_path / 'linked'
    linked.mkdir()
    for name in ('Annotations', 'JPEGImages', 'ImageSets'):
        (linked / name).symlink_to(voc.folder / name)
    assert trained_on('PascalVOC', linked) == {'JPEGImages/a.jpg': READ}


def test_a_link_that_is_not_followed_is_a_fault_of_the_report(tmp_path):
    write_files(tmp_path, {'train/a.jpg': None, 'train/a.xml': TEXT})
    (tmp_path / 'train' / 'more').symlink_to('/nowhere')
    (tmp_path / 'train' / 'loop').symlink_to(tmp_path / 'train')
    texts = [fault.text for fault in check(read_annotated('PascalVOC', 'train', str(tmp_path))).faults
             if fault.kind == kinds.LINK]
    assert len(texts) == 2 and 'more: a link that leads nowhere: left out' in texts[0] and 'loop: a link to' in texts[1]
