"""Folders that are there whole or not at all, whatever ends the program that writes them."""
import contextlib
import logging
import os
import re
import shutil

from lib.errors import DatasetError
from lib.utils.whole_file import process_lives

logger = logging.getLogger(__name__)

NOTE = 'UNFINISHED.txt'
_TEXT = ('This folder is what an interrupted program has left of\n    %s\nIt is not complete. Delete it and run the '
         'program again; that deletes it too.\n')


@contextlib.contextmanager
def whole_folder(out):
    """A folder to write into, which gets its name at the end of the block.

    If the block raises, it is removed. What a killed program left is removed by the next one that writes to `out`.

    Args:
        out: path of a folder that is not there yet, or is empty.
    Yields:
        path of the folder to write into, beside `out`.
    Raises:
        DatasetError: there are files in `out`.
    """
    target = os.path.realpath(out)
    if os.path.lexists(target) and not (os.path.isdir(target) and not os.listdir(target)):
        raise DatasetError('%s: expected a new or empty folder, found files in it. Give another one' % out)
    _remove_leftovers(target)
    temporary = '%s.unfinished-%d' % (target, os.getpid())
    os.makedirs(temporary)
    note = os.path.join(temporary, NOTE)
    try:
        with open(note, 'w', encoding='utf-8') as file:
            file.write(_TEXT % target)
        yield temporary
        os.remove(note)
        if os.path.isdir(target):
            os.rmdir(target)
        os.rename(temporary, target)
    finally:
        if os.path.isdir(temporary):
            shutil.rmtree(temporary)


def _remove_leftovers(target):
    folder, name = os.path.split(target)
    pattern = re.compile(re.escape(name) + r'\.unfinished-([0-9]+)')
    for entry in os.listdir(folder) if os.path.isdir(folder) else ():
        found = pattern.fullmatch(entry)
        if found and not process_lives(int(found.group(1))):
            shutil.rmtree(os.path.join(folder, entry))
            logger.warning('%s: removed, an interrupted program had left it', os.path.join(folder, entry))
