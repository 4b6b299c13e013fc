"""Files that are there whole or not at all."""
import os
from pathlib import Path

import pytest

from lib.utils.whole_file import whole_file


def test_a_file_has_its_name_once_the_block_ends(tmp_path):
    path = tmp_path / 'a.txt'
    path.write_text('before')
    with whole_file(str(path), '.ext') as temporary:
        Path(temporary).write_text('after')
        assert temporary.endswith('.ext') and path.read_text() == 'before'
    assert [(left.name, left.read_text()) for left in tmp_path.iterdir()] == [('a.txt', 'after')]


def test_a_file_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr('os.fsync', lambda number: calls.append(('fsync', os.path.basename(os.readlink(
        '/proc/self/fd/%d' % number)))))
    monkeypatch.setattr('os.replace', lambda source, path: calls.append(('replace', os.path.basename(source))))
    with whole_file(str(tmp_path / 'a.txt')) as temporary:
        Path(temporary).write_text('all')
    name = os.path.basename(temporary)
    assert calls == [('fsync', name), ('replace', name)]


@pytest.mark.parametrize('error', [ValueError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file_and_no_other(tmp_path, error):
    path = tmp_path / 'a.txt'
    path.write_text('before')
    with pytest.raises(error):
        with whole_file(str(path)) as temporary:
            Path(temporary).write_text('half')
            raise error
    assert [(left.name, left.read_text()) for left in tmp_path.iterdir()] == [('a.txt', 'before')]
