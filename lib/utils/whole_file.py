"""Files that are there whole or not at all, whatever ends the program that writes them."""
import contextlib
import os


@contextlib.contextmanager
def whole_file(path, suffix=''):
    """A temporary name to write to; what is there at the end of the block is flushed to the disk and gets its name.

        with whole_file('a.txt') as temporary:
            Path(temporary).write_text('all of it')

    If the block raises, the temporary file is removed and what was at `path` is untouched.

    Args:
        path: str, of the file.
        suffix: str, ends the temporary name, for writers that choose a format by it.
    Raises:
        OSError: the folder cannot be written to or the disk is full.
    """
    temporary = '%s.tmp-%d%s' % (path, os.getpid(), suffix)
    try:
        yield temporary
        with open(temporary, 'rb+') as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)
