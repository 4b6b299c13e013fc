"""Log files of the processes of a host."""
import os

import pytest

from rfcn.launching.agent import open_log


def test_a_log_is_added_to_in_a_folder_that_is_made_behind_a_link_too(tmp_path):
    (tmp_path / 'logs').symlink_to(tmp_path / 'disk' / 'logs')
    for text in b'first\n', b'second\n':
        with open_log(str(tmp_path / 'logs' / 'worker-0.log')) as file:
            file.write(text)
    assert (tmp_path / 'disk' / 'logs' / 'worker-0.log').read_bytes() == b'first\nsecond\n'
    assert (tmp_path / 'logs').is_symlink()


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path):
    (tmp_path / 'logs').touch()
    with pytest.raises(NotADirectoryError, match='a folder is expected .*logs'):
        open_log(str(tmp_path / 'logs' / 'worker-0.log'))


def test_a_pipe_in_the_place_of_a_log_is_not_waited_for(tmp_path):
    os.mkfifo(str(tmp_path / 'worker-0.log'))
    with pytest.raises(OSError, match='a regular file is expected .*worker-0.log'):
        open_log(str(tmp_path / 'worker-0.log'))
