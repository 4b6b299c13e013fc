"""The data sets by name: a reader of a format, and an evaluation. An own one gets a line in `DATASETS`.

The class names of the published ones are here too, for models of theirs where the data are not at hand.
"""
from __future__ import annotations

import re
from typing import Any, Sequence

from lib.dataset.annotations import AnnotatedSet, same_files
from lib.dataset.coco import read_coco
from lib.dataset.coco_eval import CocoScored
from lib.dataset.csv_list import read_csv
from lib.dataset.imdb import IMDB, append_flipped_images, check_usable
from lib.dataset.voc import VOC_CLASSES, read_voc
from lib.dataset.voc_eval import VocScored
from lib.dataset.yolo import read_yolo
from lib.errors import DatasetError

# Name in the configuration -> function that reads an image set, the options that it takes, class of the data set.
DATASETS = {'PascalVOC': (read_voc, ('sets',), VocScored), 'coco': (read_coco, (), CocoScored),
            'csv': (read_csv, ('sets', 'origin'), VocScored), 'yolo': (read_yolo, (), VocScored)}
# In the order of COCO's category numbers, which is that of its json files.
COCO_CLASSES = (
    'person', 'bicycle', 'car', 'motorcycle', 'airplane', 'bus', 'train', 'truck', 'boat', 'traffic light',
    'fire hydrant', 'stop sign', 'parking meter', 'bench', 'bird', 'cat', 'dog', 'horse', 'sheep', 'cow', 'elephant',
    'bear', 'zebra', 'giraffe', 'backpack', 'umbrella', 'handbag', 'tie', 'suitcase', 'frisbee', 'skis', 'snowboard',
    'sports ball', 'kite', 'baseball bat', 'baseball glove', 'skateboard', 'surfboard', 'tennis racket', 'bottle',
    'wine glass', 'cup', 'fork', 'knife', 'spoon', 'bowl', 'banana', 'apple', 'sandwich', 'orange', 'broccoli',
    'carrot', 'hot dog', 'pizza', 'donut', 'cake', 'chair', 'couch', 'potted plant', 'bed', 'dining table', 'toilet',
    'tv', 'laptop', 'mouse', 'remote', 'keyboard', 'cell phone', 'microwave', 'oven', 'toaster', 'sink', 'refrigerator',
    'book', 'clock', 'vase', 'scissors', 'teddy bear', 'hair drier', 'toothbrush')
_VOC_SET = r'20(0[7-9]|1[0-2])_\w+'
_COCO_SET = r'(train|val|valminusminival|minival|trainval|test|test-dev)20(14|15|17)'


def read_annotated(name: str, image_set: str, dataset_path: str, classes: Sequence[str] | str | None = None, *,
                   sets: Sequence[str] | None = None, origin: int = 0) -> AnnotatedSet:
    """Read the annotations of an image set.

    Args:
        name: one of `DATASETS`.
        image_set: name of a list of images in it, such as '2007_trainval'.
        dataset_path: folder of the data set.
        classes: class names or a text file of them; None takes those of the data.
        sets: names of all image sets that are used together: of data without a list of classes, their labels are the
            classes.
        origin: 0 or 1, which number the first pixel of a row has in a CSV list.
    Returns:
        AnnotatedSet.
    Raises:
        FileNotFoundError: there are no such data. DatasetError: they cannot be read at all.
    """
    if name not in DATASETS:
        raise DatasetError("unknown data set '%s'; known are %s" % (name, ', '.join(DATASETS)))
    read, takes, _ = DATASETS[name]
    options = {'sets': sets, 'origin': origin}
    data = read(image_set, dataset_path, classes, **{option: options[option] for option in takes})
    return data._replace(faults=data.faults + same_files(data))


def make_dataset(name: str, image_set: str, root_path: str, dataset_path: str, *,
                 classes: Sequence[str] | str | None = None, sets: Sequence[str] | None = None, origin: int = 0,
                 **options: Any) -> IMDB:
    """Open a data set.

    Args:
        name, image_set, dataset_path, classes, sets, origin: as of `read_annotated`.
        root_path: not used, as in the release.
        options: further keyword arguments of the class.
    Returns:
        IMDB.
    Raises:
        DatasetError: the name is unknown, or the data are not what they should be.
        FileNotFoundError: they are not there.
    """
    data = read_annotated(name, image_set, dataset_path, classes, sets=sets, origin=origin)
    return DATASETS[name][2](data, **options)


def load_imdbs(name: str, image_sets: str, root_path: str, dataset_path: str, **options: Any) -> list[IMDB]:
    """Open each image set of 'a+b'.

    Args:
        name, root_path, dataset_path, options: as in `make_dataset`.
        image_sets: names joined by '+', such as '2007_trainval+2012_trainval'.
    Returns:
        list of IMDB.
    Raises:
        DatasetError: they differ in their classes.
    """
    names = [image_set.strip() for image_set in image_sets.split('+')]
    options.setdefault('sets', names)
    imdbs = [make_dataset(name, image_set, root_path, dataset_path, **options) for image_set in names]
    for imdb in imdbs[1:]:
        if imdb.classes != imdbs[0].classes:
            raise DatasetError('%s and %s differ in their classes: %s and %s. Give the classes for both'
                               % (imdbs[0].name, imdb.name, imdbs[0].classes[1:], imdb.classes[1:]))
    return imdbs


def load_gt_roidb(name: str, image_sets: str, root_path: str, dataset_path: str, *, flip: bool = False,
                  **options: Any) -> tuple[list[dict], list[IMDB]]:
    """The images of 'a+b' with their objects.

    Args:
        name, image_sets, root_path, dataset_path, options: as in `load_imdbs`.
        flip: whether the mirror images follow: those of a set directly after it, as in the release.
    Returns:
        roidb, a list of entries, and the list of IMDBs.
    Raises:
        DatasetError, FileNotFoundError: as the data sets do; DatasetError with counts if no object is left to train
            on.
    """
    imdbs = load_imdbs(name, image_sets, root_path, dataset_path, **options)
    return roidb_of(imdbs, flip=flip), imdbs


def roidb_of(imdbs: Sequence[IMDB], *, flip: bool = False) -> list[dict]:
    """The images of data sets with their objects, to train on; see `load_gt_roidb`."""
    check_usable(imdbs)
    roidb = []
    for imdb in imdbs:
        entries = imdb.gt_roidb()
        roidb += append_flipped_images(entries) if flip else entries
    return roidb


def published_classes(dataset: str, image_sets: str) -> tuple[str, ...]:
    """Class names of the image sets 'a+b' without background, if they are VOC's or COCO's by name; else ().

    Args:
        dataset: 'PascalVOC' or 'coco'.
    """
    names, pattern = {'PascalVOC': (VOC_CLASSES, _VOC_SET), 'coco': (COCO_CLASSES, _COCO_SET)}.get(dataset, ((), ''))
    return names if all(re.fullmatch(pattern, name.strip()) for name in image_sets.split('+')) else ()
