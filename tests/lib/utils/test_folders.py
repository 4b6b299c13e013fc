"""A folder belongs to one run at a time."""
import errno
import os
import subprocess
import sys

import pytest

from lib.utils.folders import FolderInUse, locked_folder
from tests.conftest import ROOT

HOLD = ('import sys\n'
        'from lib.utils.folders import locked_folder\n'
        'with locked_folder(sys.argv[1]):\n    print("held", flush=True)\n    sys.stdin.read()\n')


@pytest.fixture
def other_process(tmp_path):
    """Another process that holds tmp_path."""
    process = subprocess.Popen([sys.executable, '-c', HOLD, str(tmp_path)], cwd=str(ROOT), stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE)
    assert process.stdout.readline() == b'held\n'
    yield process
    process.kill()
    process.communicate()


def test_a_second_run_into_the_same_folder_is_refused(other_process, tmp_path):
    said = 'in use by another run .process %d, -c.: wait for its end' % other_process.pid
    with pytest.raises(FolderInUse, match=said):
        with locked_folder(tmp_path):
            pass
    other_process.communicate(b'')
    with locked_folder(tmp_path):
        pass  # free again


def test_a_process_that_is_killed_frees_the_folder(other_process, tmp_path):
    other_process.kill()
    other_process.wait()
    with locked_folder(tmp_path):
        pass


def test_a_block_within_a_block_is_of_the_same_run(tmp_path):
    with locked_folder(tmp_path):
        with locked_folder(str(tmp_path) + '/.'):
            pass
        done = subprocess.run([sys.executable, '-c', HOLD, str(tmp_path)], cwd=str(ROOT), stdin=subprocess.DEVNULL,
                              stderr=subprocess.PIPE)
        assert b'is in use by another run (process %d' % os.getpid() in done.stderr     # still held


def test_what_a_killed_run_left_half_written_is_removed_and_named(tmp_path, caplog):
    child = subprocess.Popen(['true'])
    child.wait()
    left = tmp_path / ('net-0001.states.tmp-%d' % child.pid)
    left.write_bytes(b'half')
    with locked_folder(tmp_path):
        assert not left.exists()
    assert caplog.messages == ['%s: removed what a run that was killed had half written: %s' % (tmp_path, left.name)]


def test_a_folder_on_a_file_system_without_locks_is_used_with_a_warning(tmp_path, monkeypatch, caplog):
    def refuse(file, operation):
        raise OSError(errno.ENOLCK, 'No locks available')
    monkeypatch.setattr('fcntl.flock', refuse)
    with locked_folder(tmp_path):
        assert caplog.messages == ['%s cannot be locked (No locks available): start no second run there' % tmp_path]
