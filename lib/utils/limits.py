"""Limits of what is read from files that are not trusted, and `open_input`, which opens such files.

Each limit is far above what real files hold, and low enough that the memory and seconds behind it do no harm.
"""
from __future__ import annotations

import errno
import os
import re
import stat
from typing import IO, Any

# An image of more is refused before it is decoded. OpenCV holds an image twice while it hands it to Python, six bytes a
# pixel: 80 million need 480 MB, however small the file is. Full-frame cameras make 61 million.
MAX_PIXELS = 80000000
# XML annotation of one image: 8 MB hold some 25,000 objects. One of its tags: the parser's time grows faster than the
# number of attributes.
MAX_XML_BYTES, MAX_XML_TAG = 2 ** 23, 2 ** 16
# Configuration, data.yaml: YAML is slow, 64 kB take up to a second.
MAX_YAML_BYTES = 2 ** 16
# Graph of a network: a ResNet-152 has 1,700 nodes in 200 kB. MXNet takes two seconds for 10,000 nodes.
MAX_GRAPH_BYTES, MAX_GRAPH_NODES = 2 ** 24, 10000
# Of all numbers in a graph together that say how many there are of something (filters, outputs, parts): those of a
# ResNet-152 are 100,000. MXNet makes room for as many outputs as a node says it has, a million in six seconds.
MAX_GRAPH_COUNT = 2 ** 19
# File of proposals, unpacked: the proposals of 100,000 images have 4 GB.
MAX_ARRAY_BYTES = 2 ** 32
# Proposals of one image: 20,000 boxes of five float64. A file of few images must not unpack to gigabytes.
MAX_PROPOSAL_BYTES = 20000 * 5 * 8
# What a pickle may stand for, each part counted as often as it is referred to: 200 bytes can stand for terabytes. So
# many bytes, or so many times those of the file. Boxes that 4,000 images share, 800 of them, have 128 MB.
MAX_SHARED_BYTES, MAX_SHARED_TIMES = 2 ** 27, 16
# Bytes at the beginning of a file that tell what was saved in its place.
STAND_IN_BYTES = 2 ** 10
# Bytes of the tensors of a .pth file, over those of the file: tensors may share storages, and a file may be packed.
MAX_TENSOR_TIMES = 4

_KINDS = ((stat.S_ISREG, 'a file'), (stat.S_ISDIR, 'a folder'), (stat.S_ISFIFO, 'a named pipe (FIFO)'),
          (stat.S_ISCHR, 'a device'), (stat.S_ISBLK, 'a device'), (stat.S_ISSOCK, 'a socket'))
_STAND_INS = ((re.compile(rb'version https://git-lfs\.github\.com/'),
               'a pointer of Git LFS in place of the file. Fetch it: git lfs pull'),
              (re.compile(rb'(\xef\xbb\xbf)?\s*(?=<).*?<(!doctype )?html\b', re.IGNORECASE | re.DOTALL),
               'an HTML page, perhaps of an error. Fetch the file again'),
              (re.compile(rb'\x1f\x8b|PK\x03\x04'),
               'a packed file (gzip, zip) or a table of Excel. Unpack it, or save the table as CSV'))


class NoInput(OSError):
    """A file that is not read; `filename` names it, the text says why."""

    def __str__(self):
        return self.strerror


def open_input(path: str | os.PathLike, mode: str = 'rb', most: int | None = None, **settings: Any) -> IO:
    """`open` for reading a file that is not trusted: a regular file of at most `most` bytes, or an error.

    A FIFO, a device or a socket may never end, and opening a FIFO waits until somebody writes to it.

    Args:
        path: str or path. mode, settings: as of `open`.
    Raises:
        FileNotFoundError, PermissionError: as of `open`.
        NoInput: it is not a regular file (the message says what it is), or it is larger.
    """
    state = os.stat(path)
    _check_kind(path, state.st_mode)
    if most is not None and state.st_size > most:
        raise NoInput(errno.EFBIG, 'it has %d bytes, more than %d' % (state.st_size, most), os.fspath(path))
    return open(path, mode, **settings)


def check_regular(path: str | os.PathLike) -> None:
    """Raise FileNotFoundError if there is no such file, NoInput if it is a folder, a pipe or a device."""
    _check_kind(path, os.stat(path).st_mode)


def is_there(path: str | os.PathLike) -> bool:
    """Whether there is a file at a path. What must not pass for nothing is an error: NoInput where there is something
    else, PermissionError where a folder on the way may not be entered.
    """
    try:
        mode = os.stat(path).st_mode
    except PermissionError:
        raise
    except (OSError, ValueError):   # of a name that no file can have
        return False
    _check_kind(path, mode)
    return True


def kind_of(path: str | os.PathLike) -> str:
    """What stands at a path, in words: 'a file', 'a folder', 'a named pipe (FIFO)', 'a device', ..."""
    if os.path.islink(path) and not os.path.exists(path):
        return 'a link to what is not there'
    return _kind(os.stat(path).st_mode)


def stand_in(data: bytes) -> str:
    """What was saved in place of a file, by its first STAND_IN_BYTES, and what to do; '' if it is not known."""
    return next((text for pattern, text in _STAND_INS if pattern.match(data[:STAND_IN_BYTES])), '')


def _kind(mode):
    return next((word for test, word in _KINDS if test(mode)), 'something else')


def _check_kind(path, mode):
    if not stat.S_ISREG(mode):
        raise NoInput(errno.EINVAL, 'a regular file is expected, this is %s' % _kind(mode), os.fspath(path))
