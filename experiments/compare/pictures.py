"""The photographs that vectors were computed from, and that are not part of them: found by name and content."""
import functools
import hashlib
import zlib
from pathlib import Path

import cv2
import numpy as np

from lib.utils.image_file import imread


class NoPicture(Exception):
    """A photograph is not there."""


class Pictures:
    """Photographs below a folder.

    Args:
        folder: pathlib.Path; it need not exist.
    """

    def __init__(self, folder):
        self.folder = Path(folder)

    def path(self, name, sha256):
        """The file of that name and content, at any depth.

        Raises:
            NoPicture: there is none.
        """
        for path in sorted(self.folder.rglob(name)) if self.folder.is_dir() else ():
            if sha256_of(path) == sha256:
                return path
        raise NoPicture('%s of the original\'s demo pictures is not below %s (sha256 %s...)'
                        % (name, self.folder, sha256[:12]))

    def image(self, record):
        """The pixels that a record stands for: a photograph, cut out or made smaller.

        Args:
            record: file, sha256; crop (top, left, height, width) or size (width, height), reduced with OpenCV's
                INTER_AREA; crc32 of the resulting bytes.
        Returns:
            (height, width, 3) uint8 B, G, R.
        Raises:
            NoPicture: the photograph is not there, or this OpenCV makes other pixels of it.
        """
        image = imread(str(self.path(record['file'], record['sha256'])))
        if 'crop' in record:
            top, left, height, width = record['crop']
            image = image[top:top + height, left:left + width]
        if 'size' in record:
            image = cv2.resize(image, tuple(record['size']), interpolation=cv2.INTER_AREA)
        image = np.ascontiguousarray(image)
        if zlib.crc32(image.tobytes()) != record['crc32']:
            raise NoPicture('OpenCV %s makes other pixels of %s than the one that the vector was made with'
                            % (cv2.__version__, record['file']))
        return image


@functools.lru_cache(maxsize=None)
def sha256_of(path):
    """The SHA-256 of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
