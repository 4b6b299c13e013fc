"""Writes annotations as a CSV list of boxes."""
import csv
import os

from lib.dataset.convert_common import number_text, write_lines
from lib.dataset.csv_list import CORNERS
from lib.dataset.imdb import CLASS_FILE


def write_csv(sets, out):
    """Write sets: <set>.csv with the columns that `read_csv` reads, and classes.txt.

    Arguments and results as of `write_voc`.
    """
    for image_set, data in sets.items():
        with open(os.path.join(out, image_set + '.csv'), 'w', encoding='utf-8', newline='') as file:
            writer = csv.writer(file)
            writer.writerow(('image',) + CORNERS + ('class', 'width', 'height', 'difficult', 'crowd'))
            writer.writerows(row for picture in data.pictures for row in _rows(picture))
        write_lines(os.path.join(out, CLASS_FILE), data.classes)
    return [], {image_set: os.path.join(out, 'images', image_set) for image_set in sets}


def _rows(picture):
    for item in picture.items:
        yield ([picture.name] + list(map(number_text, item.box)) + [item.label] + list(picture.size)
               + [int(item.difficult), int(item.crowd)])
    if not picture.items:
        yield [picture.name] + [''] * 5 + list(picture.size) + ['', '']
