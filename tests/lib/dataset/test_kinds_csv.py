"""Lists of boxes as tools and people write them: what is read, what is told, what is refused."""
import os

import pytest

from lib.dataset import read_annotated
from lib.dataset.check.report import check
from lib.errors import DatasetError
from tests.lib.dataset.conftest import trained_on, write_files

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
    ('img,x1,y1,x2,y2,class\n' + LINE, r'line 1: expected four numbers'),
    ((HEAD + LINE).replace(',', '|'), r"separated by commas, semicolons or tabs, found .* 'image|x1|y1|x2|y2|class'"),
    ('<html>\n<body>\n', r"separated by commas, semicolons or tabs, found .* '<html>'"),
    (HEAD, r"expected lines 'image,x1,y1,x2,y2,class', found none"),
    (HEAD + 'a.jpg,1,2,19,20,"cat\n', r'cannot be read'),
    ((HEAD + LINE).encode('utf-16'), r'looks like UTF-16.*Save the file as UTF-8'),
    ((HEAD + LINE.replace('cat', '\u6c7d\u8f66')).encode('gb2312'), r'such as GB2312.*Save the file as UTF-8')]
    + [(HEAD + LINE.replace(',1,', ',%s,' % number), r'line 2: expected four numbers .*found %s, 2, 19, 20' % number)
       for number in ('nan', 'inf', '1e9', 'one', '', '0x1', '1px')])
def test_what_is_no_list_of_boxes_is_an_error_with_its_line(write, text, message):
    with pytest.raises(DatasetError, match=r'train\.csv: .*' + message):
        trained_on('csv', write(text))


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
    with pytest.raises((DatasetError, FileNotFoundError), match=r'train\.csv'):
        trained_on('csv', write(HEAD + LINE.replace('a.jpg', name)))


@pytest.mark.parametrize('boxes, hint', [
    ('1,1,40,30|5,5,20,20', 'no box begins at 0, and some end one pixel beyond'),
    ('1,1,40,30|5,5,60,20|1,1,40,9', 'no box begins at 0, and some end one pixel beyond'),
    ('0,0,40,30', None), ('1,1,39,29', None), ('1,1,70,60', None),
    ('0.1,0.2,0.5,0.9', 'all corners lie between 0.1 and 0.9. Pixels are expected'),
    ('0.1,0.2,1.01,0.9|0,0,1,1', 'all corners lie between 0 and 1.01'), ('0,0,1,1|0,0,9,9', None)])
def test_boxes_counted_from_1_and_fractions_get_a_hint(write, boxes, hint):
    rows = ''.join('a.jpg,%s,cat\n' % box for box in boxes.split('|'))
    found = check(read_annotated('csv', 'train', str(write(HEAD + rows)))).by_kind().get('hint', [])
    assert [hint in fault.text for fault in found] == [True] * bool(hint)


def test_pixels_may_be_counted_from_1(write):
    assert trained_on('csv', write(HEAD + 'a.jpg,1,1,40,30,cat\n'), origin=1) == {
        'images/a.jpg': [('cat', [0, 0, 39, 29])]}


def test_links_are_followed_within_and_out_of_the_folder(write, tmp_path):
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
