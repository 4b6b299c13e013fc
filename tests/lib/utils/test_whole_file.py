"""Files that are there whole or not at all."""
import contextlib
import errno
import fcntl
import os
import shutil
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lib.errors import UserError
from lib.utils.limits import NoInput
from lib.utils.whole_file import (
    alone_in,
    check_not_read,
    check_place,
    is_standard_output,
    remove_leftovers,
    save_text,
    save_whole,
    whole_file,
    whole_files,
    whole_text,
)
from tests.conftest import ROOT


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
    assert calls == [('fsync', name), ('replace', name), ('fsync', tmp_path.name)]     # and the name itself


@pytest.mark.parametrize('error', [ValueError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file_and_no_other(tmp_path, error):
    path = tmp_path / 'a.txt'
    path.write_text('before')
    with pytest.raises(error):
        with whole_file(str(path)) as temporary:
            Path(temporary).write_text('half')
            raise error
    assert [(left.name, left.read_text()) for left in tmp_path.iterdir()] == [('a.txt', 'before')]


def test_the_target_of_a_link_is_replaced_and_the_link_stays(tmp_path):
    (tmp_path / 'other').mkdir()
    (tmp_path / 'other' / 'a.txt').write_text('before')
    (tmp_path / 'link').symlink_to('other/a.txt')
    (tmp_path / 'link_to_link').symlink_to('link')
    save_text(str(tmp_path / 'link_to_link'), 'after')
    assert (tmp_path / 'link').is_symlink() and (tmp_path / 'link_to_link').is_symlink()
    assert (tmp_path / 'other' / 'a.txt').read_text() == 'after'
    (tmp_path / 'to_nothing').symlink_to('other/new.txt')
    save_text(tmp_path / 'to_nothing', 'new')
    assert (tmp_path / 'to_nothing').is_symlink() and (tmp_path / 'other' / 'new.txt').read_text() == 'new'
    assert sorted(entry.name for entry in (tmp_path / 'other').iterdir()) == ['a.txt', 'new.txt']


def read_fifo(path):
    """Make a FIFO that a thread reads to its end; the thread, and a list that gets what it has read."""
    os.mkfifo(str(path))
    read = []
    reader = threading.Thread(target=lambda: read.append(path.read_bytes()))
    reader.start()
    return reader, read


def test_a_fifo_is_written_to_and_stays_one(tmp_path):
    fifo = tmp_path / 'fifo'
    reader, read = read_fifo(fifo)
    save_text(str(fifo), 'through it')
    reader.join(10)
    assert read == [b'through it'] and stat.S_ISFIFO(os.stat(str(fifo)).st_mode)


def test_a_device_is_written_to_and_stays_one():
    before = os.stat('/dev/null')
    save_text('/dev/null', 'gone')
    with whole_text('/dev/null') as file:
        file.write('gone')
    assert stat.S_ISCHR(os.stat('/dev/null').st_mode) and os.stat('/dev/null').st_ino == before.st_ino
    with pytest.raises(OSError, match='/dev/full could not be written .No space left on device'):
        save_text('/dev/full', 'no room')


def test_a_reader_of_a_stream_sees_each_line_at_once():
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    with whole_text('/dev/fd/%d' % writer) as file:
        for line in 'a\n', 'b\n':
            file.write(line)
            assert os.read(reader, 10) == line.encode()
    os.close(reader)
    os.close(writer)


def test_a_stream_gets_what_a_writer_that_seeks_has_written_and_only_whole(tmp_path):
    def write(temporary):
        with open(temporary, 'r+b') as file:    # as those of zip archives and pictures do
            file.write(b'....end')
            file.seek(0)
            file.write(b'head')
    fifo = tmp_path / 'fifo'
    reader, read = read_fifo(fifo)
    with pytest.raises(ZeroDivisionError), whole_file(str(fifo), '.png') as temporary:
        assert temporary.endswith('.png')
        1 / 0
    assert read == []
    save_whole([str(fifo)], write)
    reader.join(10)
    assert read == [b'headend'] and not os.path.exists(temporary)


def test_an_open_file_is_written_to_where_it_stands(tmp_path):
    path = tmp_path / 'a.txt'
    with path.open('w') as file:
        file.write('before ')
        file.flush()
        save_text('/dev/fd/%d' % file.fileno(), 'by number ')
        with whole_text('/proc/self/fd/%d' % file.fileno()) as same:
            same.write('and line by line')
    assert path.read_text() == 'before by number and line by line'
    assert [is_standard_output(name) for name in ('-', '/dev/stdout', '/dev/fd/1', '/dev/stderr', 'a', None)] == [
        True, True, True, False, False, False]


def test_what_cannot_be_written_is_found_out_before_the_work(tmp_path):
    check_place(tmp_path / 'new.txt')
    check_place('-')
    with pytest.raises(OSError, match='the folder .*none is not there'):
        check_place(tmp_path / 'none' / 'a.txt')
    with pytest.raises(OSError, match='is a folder; a file was expected'):
        check_place(tmp_path)


def test_a_number_of_no_open_file_is_refused_before_the_work():
    with open(os.devnull) as file:
        path = '/dev/fd/%d' % file.fileno()
        check_place(path)
    with pytest.raises(OSError, match='no file is open under this number') as caught:
        check_place(path)
    assert caught.value.filename == path


def test_a_file_that_is_read_is_not_written_under_any_name(tmp_path):
    (tmp_path / 'a').touch()
    (tmp_path / 'link').symlink_to(tmp_path / 'a')
    check_not_read([tmp_path / 'b', tmp_path / 'c'], [tmp_path / 'a', tmp_path / 'link'])
    for written, read in (('a', 'a'), ('link', 'a'), ('a', 'link'), ('x/../a', 'link')):
        with pytest.raises(UserError, match='%s: this file is read' % written):
            check_not_read([tmp_path / 'b', tmp_path / written], [str(tmp_path / read)])


def test_a_folder_at_the_path_is_no_file(tmp_path):
    with pytest.raises(IsADirectoryError) as caught:
        save_text(tmp_path, 'text')
    assert (caught.value.filename, caught.value.strerror) == (str(tmp_path), 'is a folder; a file was expected')
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('mode', [0o600, 0o664])
def test_a_file_that_is_replaced_hands_on_its_mode(tmp_path, mode):
    path = tmp_path / 'a.txt'
    path.write_text('before')
    path.chmod(mode)
    save_text(path, 'after')
    assert path.read_text() == 'after' and stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.skipif(os.geteuid() != 0, reason='only root may give files away')
def test_a_file_that_is_replaced_hands_on_its_owner(tmp_path):
    path = tmp_path / 'a.txt'
    path.write_text('before')
    os.chown(str(path), 1234, 2345)
    save_text(path, 'after')
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 2345)


def test_files_that_belong_together_get_their_names_together_or_not_at_all(tmp_path):
    paths = [tmp_path / 'a', tmp_path / 'b']
    for path in paths:
        path.write_text('before')
    with pytest.raises(ZeroDivisionError):
        with whole_files(paths) as (first, second):
            Path(first).write_text('after')
            Path(second).write_text('half')
            1 / 0
    assert [path.read_text() for path in paths] == ['before', 'before']
    with whole_files(paths) as (first, second):
        Path(first).write_text('after')
        Path(second).write_text('after, too')
        assert paths[0].read_text() == 'before'
    assert [path.read_text() for path in paths] == ['after', 'after, too']
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ['a', 'b']


def test_of_files_that_belong_together_none_may_be_a_stream(tmp_path):
    os.mkfifo(str(tmp_path / 'b'))
    with pytest.raises(NoInput, match=r'a regular file is expected, this is a named pipe \(FIFO\)'), \
            whole_files([tmp_path / 'a', tmp_path / 'b']):
        pytest.fail('the block began')
    assert os.listdir(str(tmp_path)) == ['b']


def test_a_second_program_waits_while_the_first_names_files_that_belong_together(tmp_path, monkeypatch):
    replace, held = os.replace, []

    def watched(source, path):
        folder = os.open(str(tmp_path), os.O_RDONLY)
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held.append(path)
        os.close(folder)
        replace(source, path)
    monkeypatch.setattr('os.replace', watched)
    for names in ('a', 'b'), ('c',):
        save_whole([str(tmp_path / name) for name in names], lambda *paths: [Path(path).touch() for path in paths])
    assert held == [str(tmp_path / 'c')]     # a single file needs no other
    with alone_in(tmp_path / 'c'), alone_in('-'):
        pass                                # neither is a folder
    with alone_in(tmp_path):
        pass                                # free again


def test_a_file_that_tells_of_others_never_stands_beside_what_it_does_not_tell_of(tmp_path, killed_before):
    paths = [str(tmp_path / name) for name in ('a.csv', 'b.csv', 'of_both.yaml')]
    for path in paths:
        Path(path).write_text('old')

    killed_before('b.csv')
    with pytest.raises(KeyboardInterrupt), whole_files(paths, last_tells=True) as temporaries:
        for temporary in temporaries:
            Path(temporary).write_text('new')
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {'a.csv': 'new', 'b.csv': 'old'}


def test_a_folder_that_has_gone_is_named(tmp_path):
    with pytest.raises(OSError, match='the folder .*gone is not there. Was it deleted, or its disk unmounted'):
        save_text(tmp_path / 'gone' / 'a.txt', 'text')


def test_standard_output_takes_text_beside_what_else_is_printed():
    code = ('from lib.utils.whole_file import whole_text\n'
            'print("before")\n'
            'with whole_text("-") as file:\n    file.write("f\\u00fcr\\n")\n'
            'with whole_text("/dev/stdout") as file:\n    file.write("it\\n")\n'
            'print("after")')
    done = subprocess.run([sys.executable, '-c', code], cwd=str(ROOT), stdout=subprocess.PIPE, check=True,
                          env=dict(os.environ, LC_ALL='POSIX', PYTHONUTF8='0'))
    assert done.stdout.decode('utf-8') == 'before\nf\u00fcr\nit\nafter\n'


def test_leftovers_of_dead_processes_are_removed_and_those_of_living_ones_stay(tmp_path):
    child = subprocess.Popen(['true'])
    child.wait()
    dead = ['net-0001.params.tmp-%d' % child.pid, 'film.avi.tmp-%d.avi' % child.pid]
    stay = ['a.tmp-%d' % os.getpid(), 'tmp-1', 'a.tmp-', 'a.tmp-12x', 'a.txt']
    for name in dead + stay:
        (tmp_path / name).write_text('')
    assert remove_leftovers(str(tmp_path)) == sorted(dead)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted(stay)


@pytest.mark.parametrize('name', ['x' * 255, '\u56fe' * 85])
def test_a_file_has_as_long_a_name_as_the_system_takes_and_what_is_left_of_it_is_found(tmp_path, name):
    for folder in 'ab':
        (tmp_path / folder).mkdir()
    with whole_file(tmp_path / 'a' / name) as temporary:
        Path(temporary).write_text('text')
    ended = subprocess.Popen(['true'])
    ended.wait()
    (tmp_path / 'b' / Path(temporary).name.replace(str(os.getpid()), str(ended.pid))).write_text('a half')
    save_text(tmp_path / 'b' / name, 'text')
    assert [os.listdir(str(tmp_path / folder)) for folder in 'ab'] == [[name], [name]]


def test_what_a_killed_program_left_of_the_file_is_removed_and_what_a_running_one_writes_is_not(tmp_path):
    ended = subprocess.Popen([sys.executable, '-c', ''])
    ended.wait()
    names = ['a.txt.tmp-%d' % ended.pid, 'a.txt.tmp-%d.avi' % ended.pid, 'a.txt.tmp-%d' % os.getppid(),
             'b.txt.tmp-%d' % ended.pid]
    for name in names:
        (tmp_path / name).write_text('a half')
    save_text(str(tmp_path / 'a.txt'), 'all')
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(['a.txt'] + names[2:])


def test_a_text_for_minus_goes_to_the_standard_output(capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_text('-', 'a page')
    assert capfd.readouterr().out == 'a page' and not list(tmp_path.iterdir())


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='this system has no /dev/full')
def test_an_error_of_a_write_names_the_file():
    with pytest.raises(OSError, match='^/dev/full could not be written .No space left on device.$'):
        with whole_text('/dev/full') as file:
            file.write('a line')


def test_an_error_names_the_file_and_not_the_temporary_one(tmp_path):
    path = tmp_path / 'gone' / 'a.txt'
    path.parent.mkdir()
    said = '^%s could not be written: the folder .*gone is not there. Was it deleted' % path
    with pytest.raises(OSError, match=said), whole_text(path) as file:
        file.write('a line')
        shutil.rmtree(str(path.parent))
    path.parent.mkdir()
    with pytest.raises(OSError, match=said), whole_file(path) as temporary:
        shutil.rmtree(str(path.parent))
        open(temporary, 'wb')


def test_an_error_of_a_write_that_has_no_name_is_that_of_the_file_unless_it_has_another_cause(tmp_path):
    path = tmp_path / 'a.txt'
    with pytest.raises(OSError, match='^%s could not be written .No space left on device.; what was there' % path):
        with whole_file(path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    for other in (OSError(errno.ENOMEM, 'no memory'), OSError(errno.ENOSPC, 'full', '/another/file'), OSError('ours')):
        with pytest.raises(OSError) as caught, whole_file(path):
            raise other
        assert caught.value is other
    assert not list(tmp_path.iterdir())
