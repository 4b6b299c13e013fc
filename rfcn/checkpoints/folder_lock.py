"""One run a folder: two would overwrite each other's files."""
import contextlib
import fcntl
import logging
import os
import sys

from lib.errors import UserError
from lib.utils.whole_file import remove_leftovers

logger = logging.getLogger(__name__)

_held = set()   # the folders that this process holds


class FolderInUse(UserError, RuntimeError):
    """Another run writes there."""


@contextlib.contextmanager
def locked_folder(folder):
    """Hold a folder for the time of a `with` block; the system frees it however the process ends.

    What runs that were killed have left half-written there is removed. A block within a block of the same process
    changes nothing. Where the file system has no locks the folder is not held, and a warning says so.

    Raises:
        FolderInUse: another run holds it.
        OSError: the folder is not there or cannot be written to.
    """
    place = os.path.realpath(str(folder))
    if place in _held:
        yield
        return
    with open(os.path.join(place, '.lock'), 'a+') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise FolderInUse('%s is in use by another run (%s): wait for its end, or choose another output_path'
                              % (folder, file.read().strip() or 'its process is unknown')) from None
        except OSError as error:
            logger.warning('%s cannot be locked (%s): start no second run there', folder, error.strerror)
        file.truncate(0)
        file.write('process %d, %s' % (os.getpid(), os.path.basename(sys.argv[0]) or 'Python'))
        file.flush()
        _held.add(place)
        try:
            removed = remove_leftovers(place)
            if removed:
                logger.warning('%s: removed what a run that was killed had half written: %s', folder,
                               ', '.join(removed))
            yield
        finally:
            _held.discard(place)
