"""Writes annotations as YOLO's text files."""
import json
import os

from lib.dataset.convert_common import check_stems, write_lines


def write_yolo(sets, out):
    """Write sets: labels/<set>/*.txt, data.yaml.

    Arguments and results as of `write_voc`.
    """
    flagged = 0
    for image_set, data in sets.items():
        check_stems(data.pictures, 'labels/' + image_set)
        numbers = {name: number for number, name in enumerate(data.classes)}
        for picture in data.pictures:
            flagged += sum(item.difficult or item.crowd for item in picture.items)
            path = os.path.join(out, 'labels', image_set, os.path.splitext(picture.name)[0] + '.txt')
            write_lines(path, [label_line(numbers[item.label], item.box, *picture.size) for item in picture.items])
    places = ['%s: %s' % (json.dumps(image_set), json.dumps('images/' + image_set)) for image_set in sets]
    names = names_lines(dict(enumerate(next(iter(sets.values())).classes)))
    write_lines(os.path.join(out, 'data.yaml'), places + names)
    lost = '%d objects were difficult or crowds: they are like any other now, YOLO cannot say it' % flagged
    return [lost] * bool(flagged), {image_set: os.path.join(out, 'images', image_set) for image_set in sets}


def names_lines(names):
    """The lines of data.yaml that give class numbers their names. A JSON text is a YAML text too."""
    return ['names:'] + ['  %d: %s' % (number, json.dumps(name, ensure_ascii=False)) for number, name in names.items()]


def label_line(number, box, width, height):
    """The line of a box: class, centre and size as fractions of the image."""
    x1, y1, x2, y2 = box
    values = (x1 + x2 + 1) / 2 / width, (y1 + y2 + 1) / 2 / height, (x2 - x1 + 1) / width, (y2 - y1 + 1) / height
    return ' '.join([str(number)] + [repr(float(value)) for value in values])
