"""The project's reading of annotations agrees with a second one; what did not at first is a test here."""
import collections

import pytest

from tests.fuzz import oracle
from tests.fuzz.oracle import Folder, compare_many, equal

BOX = '<bndbox><xmin>%s</xmin><ymin>3</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>'
OBJECT = '<annotation><object>%s</object></annotation>'


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return Folder(tmp_path_factory.mktemp('oracle'))


def test_some_hundred_unusual_and_damaged_files_are_read_as_a_second_reading_does_or_refused():
    counts, findings = compare_many(400, seed=5)
    assert findings == []
    same = collections.Counter(kind for kind, outcome in counts.elements() if outcome == 'same')
    assert set(same) == set(oracle.MAKERS) and min(same.values()) > 25      # of 100 of each kind


@pytest.mark.parametrize('kind, text', [
    ('xml', OBJECT % ('<name>cat</name>' + BOX % '1_0')), ('csv', 'image,x1,y1,x2,y2,class\na.png,1_0,2,12,9,cat\n'),
    ('labels', '0 0.5 0.5 0.2_5 0.5\n'), ('xml', OBJECT % ('<name>cat</name>' + BOX % '\u0661')),
    ('csv', 'image,x1,y1,x2,y2,class\na.png,\u0661,2,9,9,cat\n')])
def test_what_only_python_takes_for_a_number_is_refused(folder, kind, text):
    assert folder.first(kind, text.encode()) is None
    assert len(folder.first(kind, text.replace('_', '').replace('\u0661', '1').encode())) == 1


@pytest.mark.parametrize('twice', ['<name>cat</name>', '<bndbox/>', '<difficult>0</difficult>'])
def test_an_object_that_says_something_twice_is_refused(folder, twice):
    good = '<name>cat</name>' + BOX % 2 + '<difficult>0</difficult>'
    assert folder.first('xml', (OBJECT % good).encode()) == [('a.png', 'cat', (1, 2, 8, 8), False)]
    assert folder.first('xml', (OBJECT % (good + twice)).encode()) is None


def test_a_corner_that_stands_twice_in_a_box_is_refused(folder):
    good = OBJECT % ('<name>cat</name>' + BOX % 2)
    assert folder.first('xml', good.replace('<ymin>', '<xmin>4</xmin><ymin>').encode()) is None


@pytest.mark.parametrize('heading', ['image,x1,y1,x2,y2,class,x1', 'image,x1,y1,x2,y2,class,xmin',
                                     'image,x1,y1,x2,y2,class,Class'])
def test_a_csv_list_with_a_column_twice_is_refused(folder, heading):
    rows = '\na.png,1,2,9,9,cat,5\n'
    assert folder.first('csv', (heading + rows).encode()) is None
    assert len(folder.first('csv', (heading.rpartition(',')[0] + ',score' + rows).encode())) == 1


def test_a_wrong_reading_is_a_finding(folder, monkeypatch):
    """The comparison itself, on a reading that is one pixel off, misses an object, or finds a flag."""
    data = b'image,x1,y1,x2,y2,class\na.png,1,2,9,9,cat\n'
    good = [('a.png', 'cat', (1.0, 2.0, 9.0, 9.0), False)]
    assert folder.compare('csv', data) == ('same', '') and folder.first('csv', data) == good
    for wrong in ([('a.png', 'cat', (1.0, 2.0, 10.0, 9.0), False)], [], [good[0][:3] + (True,)],
                  [('a.png', 'Dog') + good[0][2:]]):
        assert not equal(wrong, good)
        monkeypatch.setattr(folder, 'first', lambda kind, data: wrong)
        assert folder.compare('csv', data)[0] == 'differs'
