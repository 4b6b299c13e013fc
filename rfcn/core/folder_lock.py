"""One training a folder: two would overwrite each other's checkpoints."""
import contextlib
import fcntl
import os


@contextlib.contextmanager
def locked_folder(folder):
    """Hold the folder for the time of a `with` block; the system frees it however the process ends.

    Raises:
        RuntimeError: another run holds it.
    """
    with open(os.path.join(str(folder), '.lock'), 'a+') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            raise RuntimeError('%s is in use by another training (%s): wait for its end, or choose another output_path'
                               % (folder, file.read().strip() or 'its process is unknown')) from None
        file.truncate(0)
        file.write('process %d' % os.getpid())
        file.flush()
        yield
