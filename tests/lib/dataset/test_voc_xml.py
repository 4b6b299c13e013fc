"""Annotations in VOC's format, and what is refused as one."""
import pytest

from lib.dataset.voc_xml import parse_xml, read_object, read_size, text_of
from lib.errors import DatasetError

BOMB = ('<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;&x;&x;&x;&x;&x;&x;">]>'
        '<annotation><object><name>&y;</name></object></annotation>')
OUTSIDE = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]><annotation><filename>&x;</filename></annotation>'
OBJECT = '<annotation><object>%s</object></annotation>'
BOX = '<bndbox><xmin>%s</xmin><ymin>2</ymin><xmax>3</xmax><ymax>4</ymax></bndbox>'


def write(tmp_path, text):
    path = tmp_path / 'a.xml'
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def read_annotation(path):
    root = parse_xml(path)
    objects = [read_object(path, number, node) for number, node in enumerate(root.findall('object'))]
    return text_of(root, 'filename'), read_size(root), objects


def test_an_annotation_is_read_in_full(tmp_path):
    # The box of a part of an object, here the head, is not the object's.
    text = ('<annotation><filename>a.jpg</filename><size><width>40.0</width><height>30</height></size>'
            '<object><name> cat </name><difficult>1</difficult>%s<part><name>head</name>%s</part></object></annotation>'
            % (BOX % '1.5', BOX % '9'))
    annotation = read_annotation(write(tmp_path, text))
    assert annotation == ('a.jpg', (40, 30), [('cat', (1.5, 2, 3, 4), True)])


def test_an_annotation_without_anything_has_no_size_and_no_objects(tmp_path):
    assert read_annotation(write(tmp_path, '<annotation/>')) == ('', None, [])


@pytest.mark.parametrize('text', [BOMB, OUTSIDE])
def test_entities_are_refused(tmp_path, text):
    with pytest.raises(DatasetError, match=r'a\.xml: the file declares entities or external parts; refused'):
        read_annotation(write(tmp_path, text))


@pytest.mark.parametrize('text', ['', 'not xml', '<annotation><object>', b'\xff\xfe\x00\x01\x02',
                                  b'<?xml version="1.0" encoding="martian"?><annotation/>'])
def test_what_is_no_xml_raises_an_error_that_names_the_file(tmp_path, text):
    with pytest.raises(DatasetError, match=r'a\.xml: expected XML'):
        read_annotation(write(tmp_path, text))


@pytest.mark.parametrize('content, message', [
    (BOX % '1', r'object 0 has no <name>'),
    ('<name>cat</name>', r'object 0 \(cat\) has no <bndbox> of four numbers'),
    ('<name>cat</name>' + BOX % 'one', r'object 0 \(cat\) has no <bndbox> of four numbers'),
    ('<name>cat</name>' + BOX % 'nan', r'object 0 \(cat\) has no <bndbox> of four numbers'),
    ('<name>cat</name>' + BOX % 'inf', r'object 0 \(cat\) has no <bndbox> of four numbers')])
def test_an_object_without_name_or_box_is_refused(tmp_path, content, message):
    with pytest.raises(DatasetError, match=r'a\.xml: ' + message):
        read_annotation(write(tmp_path, OBJECT % content))


def test_a_missing_annotation_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'none\.xml'):
        read_annotation(str(tmp_path / 'none.xml'))
