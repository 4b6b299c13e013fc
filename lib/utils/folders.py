"""Folders that are there whole or not at all, whatever ends the program, and folders that one run holds alone."""
from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import re
import shutil
import sys
from typing import Iterator

from lib.errors import DatasetError, UserError
from lib.utils.console import shown
from lib.utils.limits import is_there, kind_of
from lib.utils.whole_file import NO_ROOM, alone_in, process_lives, remove_leftovers

logger = logging.getLogger(__name__)

NOTE = 'UNFINISHED.txt'
_TEXT = ('This folder is what an interrupted program has left of\n    %s\nIt is not complete. Delete it and run the '
         'program again; that deletes it too.\n')
_held = set()   # the folders that this process holds


@contextlib.contextmanager
def whole_folder(out: str) -> Iterator[str]:
    """A folder to write into, which gets its name at the end of the block.

    If the block raises, it is removed. What a killed program left is removed by the next one that writes to `out`. Of
    two programs at once the second is refused.

    Args:
        out: path of a folder that is not there yet, or is empty.
    Yields:
        path of the folder to write into, beside `out`.
    Raises:
        DatasetError: there are files in `out`.
        FolderInUse: another program is writing it.
        OSError: the folder that it is to be in cannot be written to, or the disk is full.
    """
    check_new_folder(out)
    target = os.path.realpath(out)
    temporary = '%s.unfinished-%d' % (target, os.getpid())
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with alone_in(os.path.dirname(target)):
        _remove_leftovers(target)
        os.mkdir(temporary)
    note = os.path.join(temporary, NOTE)
    try:
        with open(note, 'w', encoding='utf-8') as file:
            file.write(_TEXT % shown(target))
        yield temporary
        os.remove(note)
        os.rename(temporary, target)    # also onto an empty folder
    except OSError as error:
        within = any(str(name).startswith(temporary) for name in (error.filename, error.filename2))
        if not within and (error.filename is not None or error.errno not in NO_ROOM):
            raise
        raise OSError('%s could not be written (%s); nothing of it stays. Is the disk full or the folder read-only?'
                      % (out, error.strerror)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_new_folder(out: str | os.PathLike) -> None:
    """Find out before a long work whether `whole_folder` can write its result there. Raises as it does."""
    target = os.path.realpath(out)
    if os.path.lexists(target) and not (os.path.isdir(target) and not os.listdir(target)):
        found = 'files in it' if os.path.isdir(target) else kind_of(target)
        raise DatasetError('%s: expected a new or empty folder, found %s. Give another one' % (out, found))
    _check_writable(_nearest(os.path.dirname(target)), out)     # where it gets its name


def make_folder(out: str | os.PathLike) -> None:
    """Make a folder to write files into, and those above it; one that is there is taken. Raises as `check_folder`.

    A link to a folder that is not there stays a link, and the folder is made.
    """
    check_folder(out)
    os.makedirs(os.path.realpath(out), exist_ok=True)


def check_folder(out: str | os.PathLike) -> None:
    """Find out before a long work whether files can be written into a folder, which may be a new one.

    Raises:
        OSError: there is something else at its path, or on the way to it, or it may not be written to.
    """
    _check_writable(_nearest(os.path.realpath(out)), out)


def _nearest(path):
    """The path itself, or the nearest one above it that is there."""
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return path


def _check_writable(place, out):
    """Raise OSError unless files can be written into the folder `place`, for the sake of `out`."""
    if os.fspath(out) == '-':       # standard output, where one file is written
        raise NotADirectoryError(errno.ENOTDIR, 'a folder is expected; one of that name is ./-', '-')
    if not os.path.isdir(place):
        raise NotADirectoryError(errno.ENOTDIR, 'a folder is expected at %s, and it is %s' % (place, kind_of(place)),
                                 os.fspath(out))
    if not os.access(place, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, 'the folder %s may not be written to' % place, os.fspath(out))


class FolderInUse(UserError, RuntimeError):
    """Another run writes there."""


def _remove_leftovers(target):
    """Remove what killed programs left of a `whole_folder`. Raises FolderInUse where one is at work."""
    folder, name = os.path.split(target)
    pattern = re.compile(re.escape(name) + r'\.unfinished-([0-9]+)')
    for entry, found in ((entry, pattern.fullmatch(entry)) for entry in os.listdir(folder)):
        path = os.path.join(folder, entry)
        if found and int(found.group(1)) != os.getpid() and process_lives(int(found.group(1))):
            raise FolderInUse('%s is being written by another run, process %s: wait for its end, or choose another '
                              'folder. If that process does something else, delete %s' % (target, found.group(1), path))
        if found:
            shutil.rmtree(path)
            logger.warning('%s: removed, an interrupted program had left it', path)


@contextlib.contextmanager
def locked_folder(folder: str | os.PathLike) -> Iterator[None]:
    """Hold a folder for the time of a `with` block; the system frees it however the process ends.

    Unfinished files that killed runs have left there are removed. A block within a block of the same process has no
    effect. Where the file system has no locks the folder is not held, and a warning says so.

    Raises:
        FolderInUse: another run holds it.
        OSError: the folder is not there or cannot be written to.
    """
    place = os.path.realpath(str(folder))
    if place in _held:
        yield
        return
    if not os.path.isdir(place):
        raise FileNotFoundError(errno.ENOENT, 'the folder is not there', str(folder))
    _check_writable(place, folder)
    lock = os.path.join(place, '.lock')
    is_there(lock)
    with open(lock, 'a+b') as file:
        _take_lock(file, folder)
        _held.add(place)
        try:
            removed = remove_leftovers(place)
            if removed:
                logger.warning('%s: removed what a run that was killed had half written: %s', folder,
                               ', '.join(removed))
            yield
        finally:
            _held.discard(place)


def _take_lock(file, folder):
    """Lock the open file for this process and write into it who has it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        raise FolderInUse('%s is in use by another run (%s): wait for its end, or choose another folder'
                          % (folder, os.fsdecode(file.read()).strip() or 'its process is unknown')) from None
    except OSError as error:
        logger.warning('%s cannot be locked (%s): start no second run there', folder, error.strerror)
    os.ftruncate(file.fileno(), 0)
    program = os.path.basename(sys.argv[0]) or 'Python'
    with contextlib.suppress(OSError):  # the disk is full: the folder is held all the same
        os.write(file.fileno(), os.fsencode('process %d, %s' % (os.getpid(), program)))
