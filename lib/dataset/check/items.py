"""What is wrong with the boxes of a set, and how many objects each class has."""
from collections import Counter

from lib.dataset import annotated as kinds
from lib.dataset.annotated import Faults
from lib.dataset.box_faults import judge
from lib.dataset.check.images import frame


def box_faults(data, looks, min_side=2):
    """Faults for the boxes that training drops or clips, and for those that stand there twice.

    Args:
        data: AnnotatedSet. looks: index -> Look. min_side: pixels, as of `judge`.
    """
    faults = Faults()
    for picture in data.pictures:
        seen = set()
        size = frame(picture, looks[picture.index])
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


def alike_classes(data):
    """Faults for classes of objects whose names differ in upper case or blanks alone: mostly a slip in a label."""
    faults, first = Faults(), {}
    for label in data.classes:
        other = first.setdefault(''.join(label.lower().split()), label)
        if other != label:
            faults.note(kinds.ALIKE, '', None, "%s: the classes '%s' and '%s' are two: correct the labels if they mean "
                        'the same' % (data.name, other, label))
    return faults


def usable_items(data, looks, min_side=2):
    """Pairs (picture, item) of what training uses; pictures have the size of their `frame`, boxes lie in it."""
    pairs = []
    for picture in data.pictures:
        look = looks[picture.index]
        size = look.size and frame(picture, look)
        for item in picture.items if size else ():
            fitted, _ = judge(item.box, *size, min_side=min_side)
            if fitted and item.label in data.classes and not item.difficult and not item.crowd:
                pairs.append((picture._replace(size=size), item._replace(box=tuple(fitted))))
    return pairs
