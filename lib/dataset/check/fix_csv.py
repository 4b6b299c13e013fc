"""A cleaned copy of a CSV list of boxes."""
from lib.dataset.convert_common import number_text
from lib.dataset.csv_list import CORNERS, PLAIN, header, raw_rows


def cleaned_rows(path, kept, changes):
    """The rows of a CSV file without what is faulty, the first line and other columns as they were.

    Args:
        path: file. kept: pictures that stay. changes: Changes.
    Yields:
        lists of texts. An image that loses its last object keeps a row with its name.
    """
    rows = raw_rows(path)
    names = header(path, rows[0][1])
    if names:
        yield rows.pop(0)[1]
    names, left = names or list(PLAIN), {picture.index: True for picture in kept}
    boxes = changes.of_items()
    for number, row in rows:
        index = row[names.index('image')].replace('\\', '/')
        if index in left and boxes.get(number, True) is not None:
            left[index] = False
            yield _changed(row, names, boxes.get(number), changes.sizes.get(index))
    for index, without in left.items():
        if without:
            yield [index if name == 'image' else '' for name in names]


def _changed(row, names, box, size):
    values = dict(zip(CORNERS, map(number_text, box or ())))
    values.update(zip(('width', 'height'), map(str, size or ())))
    return [values.get(name, cell) for name, cell in zip(names + [None] * len(row), row)]
