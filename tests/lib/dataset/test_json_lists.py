"""A large json file item by item: what the ends of chunks cut, and messages that say where a file is wrong."""
import pytest

from lib.dataset import json_lists
from lib.dataset.json_lists import LIST, items_of_lists
from lib.errors import DatasetError


@pytest.fixture(params=[1, 2 ** 20])
def read(request, tmp_path, monkeypatch):
    """A function (bytes of a file, characters of a chunk) -> what `items_of_lists` yields."""
    def of(content, chunk=request.param):
        monkeypatch.setattr(json_lists, 'CHUNK', chunk)
        (tmp_path / 'a.json').write_bytes(content)
        return list(items_of_lists(str(tmp_path / 'a.json')))
    return of


def test_lists_come_item_by_item_and_other_values_whole(read):
    assert read(b' {"a": [{"b": [1]}, 2], "c": {"d": []}, "e": []} ') == [
        ('a', -1, LIST), ('a', 0, {'b': [1]}), ('a', 1, 2), ('c', -1, {'d': []}), ('e', -1, LIST)]
    assert read(b'{}') == [] and read(b' [1, 2]') == [(None, -1, LIST)]


@pytest.mark.parametrize('chunk', range(1, 30))
def test_a_number_that_the_end_of_a_chunk_cuts_is_read_whole(read, chunk):
    found = read(b'{"version": 12.5, "n": [1e5, -0.25, 1.5E+3], "images": []}', chunk)
    assert [item for _, _, item in found if item is not LIST] == [12.5, 1e5, -0.25, 1500.0]


@pytest.mark.parametrize('content, line', [
    (b'{"images": [{"id": 1},\n\n]}', 3), (b'\n{"images": [],\n\n"a" 1}', 4), (b'{"images": []}\n{}', 2)])
def test_what_is_no_json_is_named_with_its_line(read, content, line):
    with pytest.raises(DatasetError, match=r'a\.json: expected json: .* at character \d+ \(line %d\)' % line):
        read(content)


@pytest.mark.parametrize('encoding, remedy', [('utf-16', 'looks like UTF-16'),
                                              ('gb2312', 'another encoding, such as GB')])
def test_another_encoding_is_told_with_the_remedy(read, encoding, remedy):
    with pytest.raises(DatasetError, match=r'a\.json: .*%s.*Save the file as UTF-8' % remedy):
        read('{"images": [], "categories": [{"id": 1, "name": "\u6c7d\u8f66"}]}'.encode(encoding))
