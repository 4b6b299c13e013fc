"""The split of COCO's val2014 that papers report: minival2014, 5000 images, and valminusminival2014, the other 35504.

val2017 holds exactly the images of minival2014 (Detectron's MODEL_ZOO.md says so), so the split needs no third source:
the annotations are val2014's, the choice is val2017's.
"""
import json
import os

from data.download import FetchError

MINIVAL_IMAGES, OTHER_IMAGES = 5000, 35504
NAMES = ('instances_minival2014.json', 'instances_valminusminival2014.json')


def is_split(folder):
    """Whether both files are there."""
    return all(os.path.exists(os.path.join(folder, name)) for name in NAMES)


def split_minival(folder, *, counts=(MINIVAL_IMAGES, OTHER_IMAGES)):
    """Write the two files into the folder of annotations.

    Args:
        counts: how many images the two must have.
    Raises:
        FetchError: a file is damaged, val2014 lacks images of val2017, or the counts differ.
    """
    chosen = {image['id'] for image in _read(os.path.join(folder, 'instances_val2017.json'))['images']}
    val2014 = _read(os.path.join(folder, 'instances_val2014.json'))
    halves = [_part(val2014, chosen.__contains__), _part(val2014, lambda identifier: identifier not in chosen)]
    found = tuple(len(half['images']) for half in halves)
    if found != tuple(counts) or found[0] != len(chosen):
        raise FetchError('%s: expected %d and %d images in minival and the rest, not %d and %d: instances_val2014.json'
                         ' or instances_val2017.json is not the official one' % ((folder,) + tuple(counts) + found))
    for name, half in zip(NAMES, halves):
        path = os.path.join(folder, name)
        with open(path + '.part', 'w', encoding='utf-8') as file:
            json.dump(half, file)
        os.replace(path + '.part', path)


def _read(path):
    try:
        with open(path, encoding='utf-8') as file:
            return json.load(file)
    except ValueError as error:
        raise FetchError('%s: expected json: %s. Remove it and the folder .fetched, and call again'
                         % (path, error)) from error


def _part(data, wanted):
    return dict(data, images=[image for image in data['images'] if wanted(image['id'])],
                annotations=[annotation for annotation in data['annotations'] if wanted(annotation['image_id'])])
