"""Files that are there whole or not at all, whatever ends the program that writes them.

    with whole_file('a.txt') as temporary:          # a name to write to: a.txt.tmp-<process>
        Path(temporary).write_text('all of it')
    save_text('a.txt', 'all of it')

What stands at the path decides how it is written: a link's target is replaced and the link stays; a device or a FIFO
is written to as it is; a file that is replaced hands on its mode and owner.
"""
import collections
import contextlib
import errno
import functools
import logging
import os
import re
import stat
import sys
from pathlib import Path

from lib.errors import CheckpointError, error_line

logger = logging.getLogger(__name__)

STDOUT = ('-', '/dev/stdout')
_LEFTOVER = re.compile(r'\.tmp-([0-9]+)(\.\w+)?$')


@contextlib.contextmanager
def whole_files(paths, suffix='', last_tells=False):
    """Temporary names for files that belong together.

    At the end of the block all of them are flushed to the disk, and only then do they get their names, in this order.
    If the block raises, or a file finds no room, the temporary files are removed and what was there is untouched. What
    a killed program left of these files is removed before.

    Args:
        paths: str or path, of the files.
        suffix: str, ends the temporary names, for writers that choose a format by it.
        last_tells: whether the last file tells of the others: then the one that was there is removed before any gets
            its name, so that it never stands beside files that it does not tell of.
    Raises:
        OSError: a folder cannot be written to, or the disk is full.
    """
    places = [_place(os.fspath(path), suffix) for path in paths]
    for target in filter(None, (target for _, target in places)):
        _remove_leftovers_of(target)
    try:
        yield [temporary for temporary, _ in places]
        for temporary, target in places:
            if target:
                _flush(temporary)
                _keep_mode_and_owner(temporary, target)
        if last_tells and places[-1][1]:
            with contextlib.suppress(FileNotFoundError):
                os.remove(places[-1][1])
        for temporary, target in places:
            if target:
                os.replace(temporary, target)
        for folder in {os.path.dirname(target) for _, target in places if target}:
            _flush_folder(folder)
    finally:
        for temporary, target in places:
            if target and os.path.exists(temporary):
                os.remove(temporary)


@contextlib.contextmanager
def whole_file(path, suffix=''):
    """`whole_files` for one file."""
    with whole_files([path], suffix) as (temporary,):
        yield temporary


@contextlib.contextmanager
def whole_text(path):
    """A UTF-8 text file to write to; '-' is the standard output."""
    if path in STDOUT:
        with _naming('standard output'):
            sys.stdout.flush()
            with open(1, 'w', encoding='utf-8', closefd=False) as file:
                yield file
        return
    with _naming(path), whole_file(path) as temporary, open(temporary, 'w', encoding='utf-8') as file:
        yield file


@contextlib.contextmanager
def _naming(path):
    """An error of writing, which does not know the file's name, gets it."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.filename is None and error.errno:
            raise OSError(error.errno, '%s: it could not be written' % error.strerror, path) from error
        raise


def save_whole(paths, write):
    """Call `write(temporary name of each path)`; see `whole_files`.

    Raises:
        OSError: one sentence for the user; what was there is untouched.
    """
    try:
        with whole_files(paths) as temporaries:
            write(*temporaries)
    except (OSError, RuntimeError, CheckpointError) as error:     # MXNet's errors are RuntimeErrors
        folder = os.path.dirname(os.path.abspath(paths[0]))
        hint = 'Is the disk full or the folder read-only?' if os.path.isdir(folder) else \
            'The folder %s is gone: was it deleted, or its disk unmounted?' % folder
        raise OSError('%s could not be written (%s); what was there before is untouched. %s'
                      % (' and '.join(map(str, paths)), _reason(error), hint)) from error


def save_text(path, text):
    """Write a file of UTF-8 text; '-' is the standard output. Raises as `save_whole`."""
    if path in STDOUT:
        with whole_text(path) as file:
            file.write(text)
        return
    save_whole([path], lambda temporary: Path(temporary).write_text(text, encoding='utf-8'))


def remove_leftovers(folder):
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
    folder, name = os.path.split(target)
    with contextlib.suppress(OSError):      # the folder is not there, or is not ours: writing will tell
        for path in _leftovers_at_first(folder).pop(name, ()):
            os.remove(path)
            logger.warning('%s: removed, an interrupted program had left it', path)


def _place(path, suffix):
    """Where to write, and the name that it gets afterwards: None for a device or a FIFO, which is written to itself."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:   # a new file, or a link to one
        mode = stat.S_IFREG
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, 'is a folder; a file was expected', path)
    if not stat.S_ISREG(mode):
        return path, None
    target = os.path.realpath(path)
    return '%s.tmp-%d%s' % (target, os.getpid(), suffix), target


def _flush(path):
    with open(path, 'rb+') as file:
        os.fsync(file.fileno())


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


def _reason(error):
    return error.strerror if isinstance(error, OSError) and error.strerror else error_line(error)


def process_lives(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True
