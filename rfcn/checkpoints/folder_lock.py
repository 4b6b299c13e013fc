"""One training a folder: two would overwrite each other's checkpoints."""
import contextlib
import fcntl
import logging
import os

from lib.errors import UserError

logger = logging.getLogger(__name__)


class FolderInUse(UserError, RuntimeError):
    """Another run writes there."""


@contextlib.contextmanager
def locked_folder(folder):
    """Hold the folder for the time of a `with` block; the system frees it however the process ends.

    Where the file system has no locks it is not held, and a warning says so.

    Raises:
        FolderInUse: another run holds it.
    """
    with open(os.path.join(str(folder), '.lock'), 'a+') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise FolderInUse('%s is in use by another training (%s): wait for its end, or choose another output_path'
                              % (folder, file.read().strip() or 'its process is unknown')) from None
        except OSError as error:
            logger.warning('%s cannot be locked (%s): start no second run there', folder, error.strerror)
        file.truncate(0)
        file.write('process %d' % os.getpid())
        file.flush()
        yield
