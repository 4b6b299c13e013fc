"""A cleaned copy of a json file in COCO's format."""
import json

from lib.dataset.coco_json import read_coco_json
from lib.dataset.write_coco import to_bbox


def cleaned_json(path, kept, changes):
    """The content of a json file without what is faulty; all other keys stay.

    Args:
        path: file. kept: pictures that stay. changes: Changes.
    Returns:
        dict.
    """
    faulty = set()
    read_coco_json(path, lambda key, number, error: faulty.add((key, number)))
    with open(path, encoding='utf-8-sig') as file:
        data = json.load(file)
    for key in ('images', 'categories'):
        data[key] = [item for number, item in enumerate(data.get(key, ())) if (key, number) not in faulty]
    stay = {picture.index for picture in kept}
    data['images'] = [image for image in data['images'] if str(image['id']) in stay]
    for image in data['images']:
        if str(image['id']) in changes.sizes:
            image['width'], image['height'] = changes.sizes[str(image['id'])]
    boxes = changes.of_items()
    data['annotations'] = [_changed(annotation, boxes.get(number))
                           for number, annotation in enumerate(data.get('annotations', ()))
                           if ('annotations', number) not in faulty and str(annotation['image_id']) in stay
                           and boxes.get(number, True) is not None]
    return data


def _changed(annotation, box):
    if box is None:
        return annotation
    x, y, width, height = annotation['bbox']
    changed = dict(annotation, bbox=to_bbox(box))
    if annotation.get('area') == width * height:        # else it is the area of a segmentation
        changed['area'] = changed['bbox'][2] * changed['bbox'][3]
    return changed
