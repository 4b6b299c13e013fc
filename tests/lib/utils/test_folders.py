"""A folder belongs to one run at a time."""
import errno
import os
import shutil
import subprocess
import sys

import pytest

from lib.errors import DatasetError
from lib.utils.folders import FolderInUse, check_folder, check_new_folder, locked_folder, make_folder, whole_folder
from lib.utils.limits import kind_of
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


def test_a_run_of_a_script_whose_name_is_no_utf8_is_named_too(other_process, tmp_path):
    (tmp_path / '.lock').write_bytes(b'process 7, \xe9.py')
    with pytest.raises(FolderInUse, match='in use by another run .process 7, \udce9.py.: wait'):
        with locked_folder(tmp_path):
            pass


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


def test_a_new_folder_that_another_program_is_writing_is_refused_before_anything_is_written(tmp_path):
    (tmp_path / ('out.unfinished-%d' % os.getppid())).mkdir()      # of a process that lives
    with pytest.raises(FolderInUse, match='out is being written by another run, process %d: wait' % os.getppid()):
        with whole_folder(str(tmp_path / 'out')):
            pass
    assert [path.name for path in tmp_path.iterdir()] == ['out.unfinished-%d' % os.getppid()]


def test_a_folder_that_cannot_be_held_is_named(tmp_path):
    place = tmp_path / 'none'
    with pytest.raises(FileNotFoundError) as caught, locked_folder(place):
        pass
    assert (caught.value.filename, caught.value.strerror) == (str(place), 'the folder is not there')


def test_a_folder_is_held_on_a_full_disk_too(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSPC, 'No space left on device')
    monkeypatch.setattr('os.write', refuse)
    with locked_folder(tmp_path):
        done = subprocess.run([sys.executable, '-c', HOLD, str(tmp_path)], cwd=str(ROOT), stdin=subprocess.DEVNULL,
                              stderr=subprocess.PIPE)
        assert b'is in use by another run' in done.stderr


def test_what_cannot_become_a_folder_is_found_out_before_the_work(tmp_path):
    file = tmp_path / 'a.txt'
    file.write_text('')
    (tmp_path / 'link').symlink_to('new')
    for out in (tmp_path / 'new', tmp_path / 'new' / 'deeper', tmp_path / 'link'):
        check_folder(out)
        check_new_folder(out)
    check_folder(tmp_path)
    with pytest.raises(DatasetError, match='expected a new or empty folder, found files in it'):
        check_new_folder(tmp_path)
    with pytest.raises(DatasetError, match='expected a new or empty folder, found a device'):
        check_new_folder('/dev/null')
    for out in (file, file / 'below'):
        with pytest.raises(NotADirectoryError, match='a folder is expected at %s, and it is a file' % file):
            check_folder(out)


@pytest.mark.parametrize('make', [make_folder, check_folder, check_new_folder])
def test_no_folder_gets_the_name_of_standard_output(make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotADirectoryError, match='a folder is expected; one of that name is ./-'):
        make('-')
    assert not list(tmp_path.iterdir())
    make_folder('./-')
    assert (tmp_path / '-').is_dir()


def test_a_folder_is_made_behind_a_link(tmp_path):
    (tmp_path / 'link').symlink_to('far/new')
    for _ in range(2):
        make_folder(tmp_path / 'link')
    assert (tmp_path / 'link').is_symlink() and (tmp_path / 'far' / 'new').is_dir()
    assert kind_of(tmp_path / 'far') == 'a folder'
    (tmp_path / 'circle').symlink_to('circle')
    with pytest.raises(NotADirectoryError, match='it is a link to what is not there'):
        make_folder(tmp_path / 'circle')


@pytest.mark.parametrize('make, kind', [(os.mkfifo, 'named pipe'), (os.mkdir, 'folder')])
def test_what_stands_in_the_place_of_the_lock_is_named(tmp_path, make, kind):
    make(str(tmp_path / '.lock'))
    with pytest.raises(OSError, match='a regular file is expected, this is a ' + kind), locked_folder(tmp_path):
        pass


def test_a_folder_whose_name_is_no_utf8_is_written(tmp_path):
    out = str(tmp_path / os.fsdecode(b'\xff'))
    with whole_folder(out) as folder:
        open(os.path.join(folder, 'a.txt'), 'w').close()
    assert os.listdir(out) == ['a.txt']


def test_a_folder_on_a_disk_that_gets_full_is_named_and_nothing_stays(tmp_path):
    out = tmp_path / 'out'
    errors = [OSError(errno.ENOSPC, 'full'),                            # of a write
              OSError(errno.ENOSPC, 'full', '/a/source.jpg', None, '%s.unfinished-%d/a.jpg' % (out, os.getpid()))]
    for error in errors:
        with pytest.raises(OSError, match='^%s could not be written .full.; nothing of it stays' % out):
            with whole_folder(out):
                raise error
    with pytest.raises(OSError, match='^%s could not be written .No such file' % out), whole_folder(out) as folder:
        shutil.rmtree(folder)
        open(os.path.join(folder, 'a.txt'), 'w')
    other = OSError(errno.EIO, 'damaged', '/a/source.jpg')
    with pytest.raises(OSError) as caught, whole_folder(out):
        raise other
    assert caught.value is other and not list(tmp_path.iterdir())


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
