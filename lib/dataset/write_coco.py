"""Writes annotations in COCO's json format."""
import json
import os


def write_coco(sets, out):
    """Write sets: annotations/instances_<set>.json. A difficult object has the key difficult, which COCO's tools
    ignore.

    Arguments and results as of `write_voc`.
    """
    os.makedirs(os.path.join(out, 'annotations'), exist_ok=True)
    for image_set, data in sets.items():
        with open(os.path.join(out, 'annotations', 'instances_%s.json' % image_set), 'w', encoding='utf-8') as file:
            json.dump(coco_data(data), file)
    return [], {image_set: os.path.join(out, 'images', image_set) for image_set in sets}


def coco_data(data):
    """The content of the json file of an AnnotatedSet."""
    identifiers = {name: number for number, name in enumerate(data.classes, 1)}
    images, annotations = [], []
    for number, picture in enumerate(data.pictures, 1):
        images.append({'id': number, 'file_name': picture.name, 'width': picture.size[0], 'height': picture.size[1]})
        for item in picture.items:
            annotations.append(_annotation(len(annotations) + 1, number, identifiers[item.label], item))
    categories = [{'id': identifier, 'name': name} for name, identifier in identifiers.items()]
    return {'images': images, 'categories': categories, 'annotations': annotations}


def _annotation(number, image, category, item):
    bbox = to_bbox(item.box)
    annotation = {'id': number, 'image_id': image, 'category_id': category, 'bbox': bbox, 'area': bbox[2] * bbox[3],
                  'iscrowd': int(item.crowd)}
    return dict(annotation, difficult=1) if item.difficult else annotation


def to_bbox(box):
    """COCO's x, y, width, height of a box."""
    x1, y1, x2, y2 = box
    return [x1, y1, x2 - x1 + 1, y2 - y1 + 1]
