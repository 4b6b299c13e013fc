"""Operations on a roidb, the list of images with their objects. Two lists are merged with `+`.

`epoch_order` is the order in which an epoch of training visits the images.

An entry is a dict: image (path), index (name within its data set), height, width (int, pixels), boxes ((n, 4) float32,
pixels counted from 0), gt_classes ((n,) int32), flipped (bool), and in alternate training proposals ((m, 5) float32
boxes and score).
"""
import numpy as np

from lib.bbox.bbox_transform import flip_boxes
from lib.errors import DatasetError


def make_entry(image, index, height, width, boxes=(), gt_classes=()):
    """Make a roidb entry; without boxes for an image without objects, or whose objects are not known."""
    return {'image': image, 'index': index, 'height': int(height), 'width': int(width), 'flipped': False,
            'boxes': np.array(boxes, dtype=np.float32).reshape(-1, 4),
            'gt_classes': np.array(gt_classes, dtype=np.int32)}


def append_flipped_images(roidb):
    """Append the mirror image of each entry; the pixels themselves are mirrored when the image is read.

    Args:
        roidb: list of entries.
    Returns:
        list of twice the length: the entries, then their mirror images in the same order.
    Raises:
        DatasetError: a box ends before it begins.
    """
    return roidb + [flip_entry(entry) for entry in roidb]


def flip_entry(entry):
    """Mirror an entry's boxes and proposals, left to right. Twice gives the entry again."""
    check_boxes(entry)
    flipped = dict(entry, boxes=flip_boxes(entry['boxes'], entry['width']), flipped=not entry['flipped'])
    if 'proposals' in entry:
        boxes, scores = entry['proposals'][:, :4], entry['proposals'][:, 4:]
        flipped['proposals'] = np.hstack([flip_boxes(boxes, entry['width']), scores])
    return flipped


def check_boxes(entry):
    """Raise a DatasetError that names image and box if a box ends before it begins, or is no number.

    """
    # Departure: the release asserts it after mirroring, without saying where; its uint16 boxes ran into that whenever a
    # box began at pixel 0 (0 - 1 = 65535).
    boxes = entry['boxes']
    bad = np.flatnonzero(~((boxes[:, 2] >= boxes[:, 0]) & (boxes[:, 3] >= boxes[:, 1])))
    if len(bad):
        raise DatasetError('%s: box %d is (x1, y1, x2, y2) = (%s), expected x2 >= x1 and y2 >= y1. Correct it'
                           % (entry['image'], bad[0], ', '.join('%g' % value for value in boxes[bad[0]])))


def filter_roidb(roidb, keep_empty=True):
    """Check all boxes, and take out the images without objects if asked.

    Args:
        roidb: list of entries.
        keep_empty: whether images without objects stay.
    Returns:
        list of the entries that stay.
    Raises:
        DatasetError: a box ends before it begins, or no entry is left.
    """
    # Departure: the release always drops images without objects, as keep_empty=False does. They teach the network what
    # background is.
    kept = [entry for entry in roidb if keep_empty or len(entry['boxes'])]
    if not kept:
        raise DatasetError('nothing to train on: of %d images none has an object' % len(roidb))
    for entry in kept:
        check_boxes(entry)
    return kept


def is_wide(roidb):
    """(n,) bool: the images at least as wide as high. Batches hold images of one kind, to be padded little."""
    return np.array([entry['width'] >= entry['height'] for entry in roidb], dtype=bool)


def count_objects(roidb, num_classes):
    """(num_classes,) int: how many objects of each class the list holds; 0 for the background."""
    classes = [entry['gt_classes'] for entry in roidb]
    return np.bincount(np.concatenate(classes), minlength=num_classes) if classes else np.zeros(num_classes, dtype=int)


def epoch_order(index, widths, heights, batch_size, *, shuffle, aspect_grouping, shuffle_whole_batches=True,
                rng=np.random):
    """Shuffle images, keeping landscape and portrait ones in batches of their own where asked to.

    Args:
        index: (N,) int, the images in their last order (plain shuffling permutes that one, as the release does).
        widths, heights: (N,) of image 0, 1, ..., pixels.
        batch_size: images a batch.
        shuffle_whole_batches: see the departure below; False is the release's rule.
    Returns:
        (N,) int, every image once.
    Source: the release's AnchorLoader.reset.
    """
    if not shuffle:
        return index
    if not aspect_grouping:
        return index[rng.permutation(len(index))]
    landscape = np.asarray(widths) >= np.asarray(heights)
    order = np.hstack((rng.permutation(np.where(landscape)[0]), rng.permutation(np.where(~landscape)[0])))
    whole = len(order) // batch_size * batch_size
    # Departure: where the batches come out even the release shuffles none of them (its slice [:-0] is empty), so that
    # every epoch is all landscape, then all portrait.
    if whole < len(order) or shuffle_whole_batches:
        batches = order[:whole].reshape(-1, batch_size)
        order[:whole] = batches[rng.permutation(len(batches))].ravel()
    return order
