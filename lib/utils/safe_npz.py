"""Reads arrays from .npz files without unpickling, and without unpacking more than a limit."""
import zipfile

import numpy as np

from lib.errors import DatasetError
from lib.utils.limits import MAX_ARRAY_BYTES, open_input


def load(path, names, most=MAX_ARRAY_BYTES):
    """The arrays of these names.

    Raises:
        DatasetError: the file is damaged, lacks one of them, holds Python objects, or would become larger than `most`
            bytes.
    """
    try:
        with open_input(path) as file:
            with zipfile.ZipFile(file) as archive:
                size = sum(info.file_size for info in archive.infolist())
            if size > most:
                raise ValueError('it would unpack to %d bytes, more than %d' % (size, most))
            file.seek(0)
            with np.load(file, allow_pickle=False) as content:
                arrays = [content[name] for name in names]
        if not all(isinstance(array, np.ndarray) for array in arrays):
            raise ValueError('not all of them are arrays')  # but the bytes of another kind of file
        return arrays
    except Exception as error:  # a damaged file raises nearly anything
        raise DatasetError('%s: not an .npz file of plain arrays %s, or a damaged one (%s). Make it again'
                           % (path, ', '.join(names), error)) from None
