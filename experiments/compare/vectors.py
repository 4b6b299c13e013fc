"""Reads a vector, `name.npz` and `name.json`, and keeps account of what was asked for: the rest is not understood."""
import json
import re
from collections.abc import Mapping

import numpy as np

from experiments.compare.pictures import Pictures


class Record(Mapping):
    """A JSON object that remembers which of its keys were read."""

    def __init__(self, values):
        self._values = {key: wrap(value) for key, value in values.items()}
        self._seen = set()

    def __getitem__(self, key):
        self._seen.add(key)
        return self._values[key]

    def __iter__(self):
        return iter(self._values)

    def __len__(self):
        return len(self._values)

    def __contains__(self, key):  # does not count as reading
        return key in self._values

    def note(self, *keys):
        """Mark keys that say how the vector was made and are not compared."""
        self._seen.update(keys)

    def numbered(self, pattern):
        """Values of the keys that match a regular expression as a whole: (match, value), in the file's order."""
        matches = [re.fullmatch(pattern, key) for key in self]
        return [(match, self[match.group(0)]) for match in matches if match]

    def unread(self, path):
        """Paths of all keys that were not read, here and below."""
        found = ['%s.%s' % (path, key) for key in self._values if key not in self._seen]
        return found + [item for key in self._values if key in self._seen
                        for item in unread(self._values[key], '%s.%s' % (path, key))]


def wrap(value):
    """JSON objects at any depth become Records."""
    if isinstance(value, dict):
        return Record(value)
    return [wrap(item) for item in value] if isinstance(value, list) else value


def plain(value):
    """The same as ordinary dicts and lists; all of it counts as read."""
    if isinstance(value, Record):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def unread(value, path=''):
    """Paths of all keys of a JSON value that were not read."""
    if isinstance(value, Record):
        return value.unread(path)
    if isinstance(value, list):
        return [item for i, entry in enumerate(value) for item in unread(entry, '%s[%d]' % (path, i))]
    return []


class Vector:
    """One case of a directory: `vector['name']` is an array of its npz, `vector.record` the content of its json.

    Attributes:
        name: str. directory: pathlib.Path.
        record: Record, or list of them; None without a json file.
        pictures: `Pictures` that it was computed from.
    """

    def __init__(self, directory, name, pictures=None):
        self.name = name
        self.directory = directory
        self.pictures = pictures or Pictures(directory / 'images')
        self.arrays = {}
        self.record = None
        self._seen = set()
        if (directory / (name + '.npz')).exists():
            with np.load(str(directory / (name + '.npz'))) as arrays:
                self.arrays = {key: arrays[key] for key in arrays.files}
        if (directory / (name + '.json')).exists():
            self.record = wrap(json.loads((directory / (name + '.json')).read_text(encoding='utf-8')))

    def __getitem__(self, key):
        self._seen.add(key)
        if key not in self.arrays:
            raise KeyError('%s.npz has no array %s' % (self.name, key))
        return self.arrays[key]

    def __contains__(self, key):
        return key in self.arrays

    def matching(self, pattern):
        """Matches of the array names that a regular expression describes as a whole, in the file's order."""
        return [match for match in (re.fullmatch(pattern, key) for key in self.arrays) if match]

    def indices(self, pattern):
        """Sorted numbers i for which an array fits `pattern`, in which %d stands for i."""
        return sorted({int(match.group(1)) for match in self.matching(re.escape(pattern).replace('%d', r'(\d+)'))})

    def picture(self, array, key):
        """Pixels (height, width, 3) uint8: those of the npz, or else of the photograph that the json names under `key`.

        Raises:
            NoPicture: the photograph is not there.
        """
        return self[array] if array in self else self.pictures.image(plain(self.record[key]))

    def cases(self, pattern):
        """(i, record[i]) for every i of `indices`; all entries of the json must have their arrays, and the reverse."""
        indices = self.indices(pattern)
        if indices != list(range(len(self.record or ()))):
            raise ValueError('%s.json describes %d cases, %s.npz holds those of the numbers %s'
                             % (self.name, len(self.record or ()), self.name, indices))
        return list(zip(indices, self.record))

    def not_understood(self):
        """Names of arrays and paths of keys that were not read."""
        arrays = ['%s.npz: %s' % (self.name, key) for key in self.arrays if key not in self._seen]
        return arrays + ['%s.json: %s' % (self.name, path.lstrip('.')) for path in unread(self.record)]
