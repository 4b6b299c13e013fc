"""What a checkpoint remembers of the images that it was trained on: their names, sizes and boxes, as sums.

So a list that was cut, another picture or another box is noticed when the run is taken up, and told apart from a data
set that has grown. The folder of the data does not count: it may be moved.
"""
import hashlib
from collections import Counter, namedtuple

import numpy as np

SUM_BYTES = 8
# Of an entry of a roidb: what the training depends on, besides its name. Proposals are those of alternating training.
_CONTENT = ('boxes', 'gt_classes', 'proposals')

DataRecord = namedtuple('DataRecord', 'sums objects')
DataRecord.__doc__ = """sums: (images, 2, 8) uint8, of each image's name and of its content, in the order of the list;
objects: int, how many there are."""

DataChange = namedtuple('DataChange', 'gone new changed reordered')
DataChange.__doc__ = """How many images are no longer in the list, are new in it, have another size or other boxes; and
whether those that stayed stand in another order."""


def data_record(roidb):
    """The `DataRecord` of a roidb. Mirror images, which follow from a setting, are left out."""
    entries = [entry for entry in roidb if not entry['flipped']]
    sums = [_sum(entry['index'].encode('utf-8', 'surrogateescape')) + _sum(*_content(entry)) for entry in entries]
    return DataRecord(np.frombuffer(b''.join(sums), dtype=np.uint8).reshape(-1, 2, SUM_BYTES),
                      sum(len(entry['boxes']) for entry in entries))


def _content(entry):
    yield np.array([entry['width'], entry['height']], dtype=np.int64).tobytes()
    for name in _CONTENT:
        if name in entry:
            value = np.asarray(entry[name])
            yield np.ascontiguousarray(value, dtype=np.float64 if value.dtype.kind == 'f' else np.int64).tobytes()


def _sum(*parts):
    digest = hashlib.blake2b(digest_size=SUM_BYTES)
    for part in parts:
        digest.update(b'%d:' % len(part) + part)
    return digest.digest()


def summary(record):
    """Plain values for a note: images, objects, and a sum of everything."""
    return {'images': len(record.sums), 'objects': record.objects, 'sum': _sum(record.sums.tobytes()).hex()}


def data_change(before, now):
    """What has changed between two records; None if nothing has."""
    if np.array_equal(before.sums, now.sums):
        return None
    pairs = [[(name.tobytes(), content.tobytes()) for name, content in record.sums] for record in (before, now)]
    names = [Counter(name for name, _ in of) for of in pairs]
    gone, new = names[0] - names[1], names[1] - names[0]
    lost = Counter(pairs[0]) - Counter(pairs[1])
    stayed = [[name for name, _ in of if name not in gone and name not in new] for of in pairs]
    return DataChange(sum(gone.values()), sum(new.values()), sum(lost.values()) - sum(gone.values()),
                      stayed[0] != stayed[1])
