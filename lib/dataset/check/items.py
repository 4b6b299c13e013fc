"""What is wrong with the boxes of a set, and how many objects each class has."""
from collections import Counter

from lib.dataset import annotated as kinds
from lib.dataset.annotated import Faults
from lib.dataset.box_faults import judge


def box_faults(data, looks, min_side=2):
    """Faults for the boxes that training drops or clips, and for those that stand there twice.

    Args:
        data: AnnotatedSet. looks: index -> Look. min_side: pixels, as of `judge`.
    """
    faults = Faults()
    for picture in data.pictures:
        seen = set()
        size = looks[picture.index].size or picture.size
        for item in picture.items:
            kind = judge(item.box, *size, min_side=min_side)[1] if size else None
            if kind:
                faults.note(kind, picture.index, item.number, '%s: box (%s) in an image of %d x %d pixels'
                            % ((data.where(picture, item), ', '.join('%g' % value for value in item.box)) + size))
            if (item.label, item.box) in seen:
                faults.note(kinds.DOUBLED, picture.index, item.number,
                            '%s: an earlier object of the class has the same box (%s)'
                            % (data.where(picture, item), ', '.join('%g' % value for value in item.box)))
            seen.add((item.label, item.box))
    return faults


def class_counts(data):
    """Class -> (objects, images with such objects), in the order of the classes; then unknown labels, if any."""
    objects = Counter(item.label for picture in data.pictures for item in picture.items)
    images = Counter(label for picture in data.pictures for label in {item.label for item in picture.items})
    labels = list(data.classes) + sorted(set(objects) - set(data.classes))
    return {label: (objects[label], images[label]) for label in labels}


def absent_classes(data):
    """Faults for the classes that have no object."""
    faults = Faults()
    for label, (objects, _) in class_counts(data).items():
        if not objects:
            faults.note(kinds.ABSENT, '', None, "%s: the class '%s' has no object" % (data.name, label))
    return faults


def usable_items(data, looks, min_side=2):
    """Pairs (picture, item) of the objects that training uses: pictures with their true sizes, boxes fitted into them.
    """
    pairs = []
    for picture in data.pictures:
        size = looks[picture.index].size
        for item in picture.items if size else ():
            fitted, _ = judge(item.box, *size, min_side=min_side)
            if fitted and item.label in data.classes and not item.difficult and not item.crowd:
                pairs.append((picture._replace(size=size), item._replace(box=tuple(fitted))))
    return pairs
