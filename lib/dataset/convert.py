"""Converts data sets between the layout of PASCAL VOC, COCO's json, a CSV list of boxes and YOLO's text files."""
import os

from lib.dataset.annotated import unknown_labels
from lib.dataset.convert_common import place_images
from lib.dataset.readers import read_annotated
from lib.dataset.write_coco import write_coco
from lib.dataset.write_csv import write_csv
from lib.dataset.write_voc import write_voc
from lib.dataset.write_yolo import write_yolo
from lib.errors import DatasetError
from lib.utils.image import image_size

WRITERS = {'PascalVOC': write_voc, 'coco': write_coco, 'csv': write_csv, 'yolo': write_yolo}


def convert(source, target, image_sets, dataset_path, out, *, classes=None, images='copy'):
    """Convert image sets of a data set.

    Boxes, classes and their order, sizes and names of images, and images without objects are kept. Of COCO's json,
    segmentations, key points, ids and licences are not; of VOC's XML, pose, parts and flags other than difficult are
    not.

    Args:
        source, target: 'PascalVOC', 'coco', 'csv' or 'yolo'.
        image_sets: list of names.
        dataset_path: folder of the data set.
        out: folder, new or empty.
        classes: names, or a file of them; by default those of the data.
        images: 'copy', 'link' (symbolic links) or 'none'.
    Returns:
        dict image set -> AnnotatedSet that was written; list of str, what the target format cannot say.
    Raises:
        DatasetError, FileNotFoundError: the data have a fault, or `out` is not empty.
    """
    for name in (source, target):
        if name not in WRITERS:
            raise DatasetError("unknown format '%s'; known are %s" % (name, ', '.join(WRITERS)))
    if os.path.isdir(out) and os.listdir(out):
        raise DatasetError('%s: expected a new or empty folder, found files in it. Give another one' % out)
    sets = {image_set: _complete(read_annotated(source, image_set, dataset_path, classes)) for image_set in image_sets}
    if len({data.classes for data in sets.values()}) > 1:
        raise DatasetError('the sets differ in their classes: %s. Give them with --classes'
                           % '; '.join('%s: %s' % (name, ', '.join(data.classes)) for name, data in sets.items()))
    unprintable = [name for data in sets.values() for name in data.classes if not name.isprintable()]
    if unprintable:
        raise DatasetError('expected class names of printable characters, found %r' % unprintable[0])
    os.makedirs(out, exist_ok=True)
    lost, folders = WRITERS[target](sets, out)
    for image_set, data in sets.items():
        place_images(data.pictures, folders[image_set], images)
    return sets, lost


def _complete(data):
    """A set without faults, with the size of every image."""
    for fault in data.faults + unknown_labels(data):
        raise DatasetError('%s. rfcn check lists all faults, and its --fix writes annotations without them'
                           % fault.text.rstrip('.'))
    return data._replace(pictures=[picture._replace(size=picture.size or image_size(picture.path))
                                   for picture in data.pictures])
