"""Files that are there whole or not at all, whatever ends the program that writes them.

    with whole_file('a.txt') as temporary:          # a name to write to: a.txt.tmp-<process>
        Path(temporary).write_text('all of it')
    save_text('a.txt', 'all of it')

What stands at the path decides how it is written:

- a file: it is replaced, and the new one has its mode and owner;
- a link: its target is replaced, and the link stays;
- a stream (a device, a FIFO, '-' for the standard output, /dev/fd/N): it gets what was written when all of it is there.
"""
from __future__ import annotations

import collections
import contextlib
import errno
import fcntl
import functools
import hashlib
import logging
import os
import re
import shutil
import stat
import sys
import tempfile
from io import TextIOWrapper
from pathlib import Path
from typing import Callable, Iterable, Iterator, Sequence

from lib.errors import CheckpointError, UserError, error_line
from lib.utils.console import shown
from lib.utils.limits import check_regular

logger = logging.getLogger(__name__)

STANDARD_STREAMS = {'-': 1, '/dev/stdout': 1, '/dev/stderr': 2}
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)   # of a write, whose error has no file's name
LONGEST = 220       # bytes of a name that something may be added to: systems take 255
_LEFTOVER = re.compile(r'\.tmp-([0-9]+)(\.\w+)?$')


@contextlib.contextmanager
def whole_files(paths: Sequence[str | os.PathLike], suffix: str = '', last_tells: bool = False) -> Iterator[list[str]]:
    """Temporary names for files that belong together.

    At the end of the block all of them are flushed to the disk, and only then do they get their names, in this order.
    If the block raises, or a file finds no room, the temporary files are removed and what was there is untouched. What
    a killed program left of these files is removed before. Of two programs that write the same files, the names are all
    of one, then all of the other.

    Args:
        paths: str or path, of the files.
        suffix: str, ends the temporary names, for writers that choose a format by it.
        last_tells: whether the last file describes the others: its old version is then removed first, so that it never
            stands beside files that it does not describe.
    Raises:
        OSError: a folder is not there or cannot be written to, or the disk is full; it names the files, not the
            temporary ones. Of several files one is a stream, from which nobody could read them together.
    """
    paths = [os.fspath(path) for path in paths]
    try:
        targets = [_target(path) for path in paths]     # None of a stream
    except FileNotFoundError as error:
        raise _not_written(paths, error.strerror) from error
    for path, target in zip(paths, targets):
        if target:
            _remove_leftovers_of(target)
        elif len(paths) > 1:
            check_regular(path)
    temporaries = [_temporary(target, suffix) for target in targets]
    try:
        with naming(paths, temporaries):
            yield temporaries
            _give_names(paths, temporaries, targets, last_tells)
    finally:
        for temporary in filter(os.path.exists, temporaries):
            os.remove(temporary)


def _give_names(paths, temporaries, targets, last_tells):
    """The end of `whole_files`."""
    for temporary, target in zip(temporaries, targets):
        if target:
            with open(temporary, 'rb+') as file:
                os.fsync(file.fileno())
            _keep_mode_and_owner(temporary, target)
    folders = sorted({os.path.dirname(target) for target in filter(None, targets)})
    with contextlib.ExitStack() as held:
        for folder in folders if len(targets) > 1 else ():
            held.enter_context(alone_in(folder))
        if last_tells and targets[-1]:
            with contextlib.suppress(FileNotFoundError):
                os.remove(targets[-1])
        for path, temporary, target in zip(paths, temporaries, targets):
            if target:
                os.replace(temporary, target)
            else:
                with open(temporary, 'rb') as file, _open_stream(path, 'wb') as stream:
                    shutil.copyfileobj(file, stream)
    for folder in folders:
        _flush_folder(folder)


@contextlib.contextmanager
def alone_in(folder: str | os.PathLike) -> Iterator[None]:
    """A moment in which no other block of this function, of this or another program, is at work in a folder.

    Others wait for its end; `lib.utils.folders` has a lock that refuses them. No effect on what is no folder, or where
    the file system has no locks. Not for a block within another one of the same folder.
    """
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):      # the folder cannot be read, or not locked
            number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            held.callback(os.close, number)
            fcntl.flock(number, fcntl.LOCK_EX)
            held.callback(fcntl.flock, number, fcntl.LOCK_UN)   # now, whatever processes have inherited the number
        yield


@contextlib.contextmanager
def whole_file(path: str | os.PathLike, suffix: str = '') -> Iterator[str]:
    """`whole_files` for one file."""
    with whole_files([path], suffix) as (temporary,):
        yield temporary


@contextlib.contextmanager
def whole_text(path: str | os.PathLike) -> Iterator[TextIOWrapper]:
    """A UTF-8 text file to write to; '-' is the standard output. A stream gets each line as it comes."""
    path = os.fspath(path)
    with contextlib.ExitStack() as stack:
        if _target(path) is None:
            stack.enter_context(naming([path]))
            yield stack.enter_context(_open_stream(path, 'w', encoding='utf-8', buffering=1))
        else:
            temporary = stack.enter_context(whole_file(path))
            yield stack.enter_context(open(temporary, 'w', encoding='utf-8'))


def is_stream(path: str | os.PathLike) -> bool:
    """Whether a path names an open file, '-' or /dev/stdout, or a device or a FIFO: anything but a file or a folder."""
    path = os.fspath(path)
    return _descriptor(path) is not None or os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path))


def is_standard_output(path: str | os.PathLike) -> bool:
    """Whether a path names what the program prints to: '-', /dev/stdout, /dev/fd/1."""
    return path is not None and _descriptor(os.fspath(path)) == 1


@contextlib.contextmanager
def naming(paths: Sequence[str | os.PathLike], temporaries: Sequence[str] = ()) -> Iterator[None]:
    """Turn an OSError of writing into one that names the files that the caller asked for."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        ours = error.filename in temporaries if error.filename is not None else error.errno in NO_ROOM
        if not ours:
            raise
        raise _not_written(paths, error.strerror) from error


def _not_written(paths, reason):
    """An OSError whose text is one sentence for the user."""
    names = ' and '.join('standard output' if path == '-' else os.fspath(path) for path in paths)
    folders = [os.path.dirname(os.path.abspath(path)) for path in paths if _descriptor(os.fspath(path)) is None]
    gone = [folder for folder in folders if not os.path.isdir(folder)]
    if gone:
        text = 'could not be written: the folder %s is not there. Was it deleted, or its disk unmounted?' % gone[0]
    elif any(os.path.exists(path) and not os.path.isfile(path) for path in paths) or not folders:
        text = 'could not be written (%s)' % reason
    else:
        text = 'could not be written (%s); what was there before is untouched. Is the disk full or the folder ' \
               'read-only?' % reason
    return OSError('%s %s' % (names, text))


def save_whole(paths: Sequence[str | os.PathLike], write: Callable[..., object], last_tells: bool = False) -> None:
    """Call `write(temporary name of each path)`; see `whole_files`.

    Raises:
        OSError: one sentence for the user; what was there is untouched.
    """
    with whole_files(paths, last_tells=last_tells) as temporaries:
        try:
            write(*temporaries)
        except (RuntimeError, CheckpointError) as error:     # MXNet's errors are RuntimeErrors
            raise _not_written(paths, error_line(error)) from error


def save_text(path: str | os.PathLike, text: str) -> None:
    """Write a file of UTF-8 text; '-' is the standard output. Raises as `save_whole`."""
    save_whole([path], lambda temporary: Path(temporary).write_text(text, encoding='utf-8'))


def end_line(path: str | os.PathLike) -> None:
    """End the last line of a file that was cut within it, as a killed run or a full disk leaves it."""
    with open(path, 'r+b') as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
        if file.read() not in (b'', b'\n'):
            file.write(b'\n')


def remove_leftovers(folder: str | os.PathLike) -> list[str]:
    """Remove the temporary files of processes that have ended without removing them. Returns their names, sorted."""
    paths = sorted(path for found in _find_leftovers(folder).values() for path in found)
    for path in paths:
        os.remove(path)
    return [os.path.basename(path) for path in paths]


def _find_leftovers(folder):
    """Name of a file -> paths of temporary files of it whose processes have ended."""
    found = collections.defaultdict(list)
    for entry in os.scandir(folder):
        match = _LEFTOVER.search(entry.name)
        if match and entry.is_file(follow_symlinks=False) and not process_lives(int(match.group(1))):
            found[entry.name[:match.start()]].append(entry.path)
    return found


_leftovers_at_first = functools.lru_cache(maxsize=256)(_find_leftovers)    # a folder may get 100,000 files


def _remove_leftovers_of(target):
    """Remove what killed programs left of a file before this one first wrote into the folder."""
    folder, name = os.path.split(_beginning(target))
    with contextlib.suppress(OSError):      # the folder is not there, or is not ours: writing will tell
        for path in _leftovers_at_first(folder).pop(name, ()):
            os.remove(path)
            logger.warning('%s: removed, an interrupted program had left it', path)


def check_place(path: str | os.PathLike) -> None:
    """Find out before a long work whether its result can get this name.

    Raises:
        OSError: a folder is there, or the file's own folder is not there or may not be written to.
    """
    path = os.fspath(path)
    target = _target(path)
    if target and not os.access(os.path.dirname(target), os.W_OK):
        raise PermissionError(errno.EACCES, 'the folder %s may not be written to' % os.path.dirname(target), path)


def check_not_read(results: Iterable[str | os.PathLike], inputs: Iterable[str | os.PathLike]) -> None:
    """Raise a UserError where a file that is to be written is one of those that are read, under whatever name."""
    read = set(map(os.path.realpath, inputs))
    for path in results:
        if os.path.realpath(path) in read:
            raise UserError('%s: this file is read, and what is written would replace it. Give another name or folder'
                            % shown(path))


def _target(path):
    """The file that gets a name at the end; None of a stream.

    Raises:
        OSError: it is a folder, or in a folder that is not there; or the number of a file that is not open.
    """
    number = _descriptor(path)
    if number is not None:
        try:
            os.fstat(number)
        except OSError as error:
            raise OSError(error.errno, 'no file is open under this number', path) from error
        return None
    target = os.path.realpath(path)
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:   # a new file, or a link to one
        folder = os.path.dirname(target)
        if not os.path.isdir(folder):
            raise FileNotFoundError(errno.ENOENT, 'the folder %s is not there' % folder, path) from None
        return target
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, 'is a folder; a file was expected', path)
    return target if stat.S_ISREG(mode) else None


def _temporary(target, suffix):
    """A name to write to: beside the target; of a stream, in the folder of temporary files."""
    if target:
        return '%s.tmp-%d%s' % (_beginning(target), os.getpid(), suffix)
    number, path = tempfile.mkstemp(suffix=suffix)
    os.close(number)
    return path


def _beginning(target):
    """How the temporary names of a file begin: with its own, or its digest where that leaves no room for more."""
    folder, name = os.path.split(target)
    data = os.fsencode(name)
    return target if len(data) <= LONGEST else os.path.join(folder, hashlib.sha1(data).hexdigest())


def _descriptor(path):
    """The number of the open file that a path names; None of all other paths."""
    match = re.match(r'/(?:dev|proc/self)/fd/([0-9]+)$', path)
    return int(match.group(1)) if match else STANDARD_STREAMS.get(path)


def _open_stream(path, mode, **more):
    """A device, a FIFO or an open file, to write to as it is."""
    number = _descriptor(path)
    sys.stdout.flush()
    return open(path, mode, **more) if number is None else open(number, mode, closefd=False, **more)


def _flush_folder(folder):
    """So that the new names are on the disk, too; some file systems cannot."""
    with contextlib.suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def _keep_mode_and_owner(temporary, target):
    with contextlib.suppress(FileNotFoundError):
        before, now = os.stat(target), os.stat(temporary)
        if (before.st_uid, before.st_gid) != (now.st_uid, now.st_gid):
            with contextlib.suppress(PermissionError):
                os.chown(temporary, before.st_uid, before.st_gid)
        os.chmod(temporary, stat.S_IMODE(before.st_mode))


def process_lives(process: int) -> bool:
    """Whether there is a process of this number."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True
