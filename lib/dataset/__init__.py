"""The formats of data sets by name, `DATASETS`: how each is read, evaluated and written. And opening a data set by it.

A new format also needs a way to be found in a folder (find.py) and to be written without faults (check/fix.py).
"""
from __future__ import annotations

import logging
import re
from typing import Any, Callable, NamedTuple, Sequence

from lib.dataset.annotations import AnnotatedSet, check_same_classes, same_files
from lib.dataset.coco import COCO_CLASSES, COCO_SET, read_coco, write_coco
from lib.dataset.coco_eval import CocoScored
from lib.dataset.csv_list import read_csv, write_csv
from lib.dataset.files import names_of_set
from lib.dataset.find import find_dataset
from lib.dataset.imdb import IMDB, append_flipped_images, check_usable
from lib.dataset.voc import VOC_CLASSES, read_voc, write_voc
from lib.dataset.voc_eval import VocScored
from lib.dataset.yolo import read_yolo, write_yolo
from lib.errors import DatasetError
from lib.utils.console import listed

logger = logging.getLogger(__name__)


class Format(NamedTuple):
    """A format of data sets."""
    read: Callable                  # reads an image set: `read_voc` and so on
    options: tuple[str, ...]        # those of `read_annotated` that `read` takes
    evaluation: type[IMDB]          # a data set with its evaluation
    write: Callable                 # writes image sets: `write_voc` and so on


# By its name in the configuration.
DATASETS = {'PascalVOC': Format(read_voc, ('sets',), VocScored, write_voc),
            'coco': Format(read_coco, (), CocoScored, write_coco),
            'csv': Format(read_csv, ('sets', 'origin'), VocScored, write_csv),
            'yolo': Format(read_yolo, (), VocScored, write_yolo)}
_VOC_SET = r'20(0[7-9]|1[0-2])_\w+'


def read_annotated(name: str, image_set: str, dataset_path: str, classes: Sequence[str] | str | None = None, *,
                   sets: Sequence[str] | None = None, origin: int = 0) -> AnnotatedSet:
    """Read the annotations of an image set.

    Args:
        name: one of `DATASETS`.
        image_set: name of a list of images in it, such as '2007_trainval'.
        dataset_path: folder of the data set.
        classes: class names, or the path of a text file with a name per line; None takes those of the data.
        sets: names of all image sets that are used together. If the data have no list of classes, the labels of all of
            these sets are the classes.
        origin: 0 or 1, the number of the first pixel of a row in a CSV list.
    Raises:
        FileNotFoundError: there is no such image set.
        DatasetError: the format is unknown, or nothing of the set can be read. Lesser faults are in the result.
    """
    if name not in DATASETS:
        raise DatasetError("dataset.dataset: expected one of %s, found '%s'" % (', '.join(DATASETS), name))
    options = {'sets': sets, 'origin': origin}
    try:
        data = DATASETS[name].read(image_set, dataset_path, classes,
                                   **{option: options[option] for option in DATASETS[name].options})
    except FileNotFoundError as error:
        raise FileNotFoundError('%s%s' % (error, _other_sets(name, image_set, dataset_path))) from None
    return data._replace(faults=data.faults + same_files(data))


def _other_sets(name, image_set, dataset_path):
    """The end of a message that a set is not there: which data set the folder holds; '' if that one or none."""
    try:
        found = find_dataset(dataset_path)
    except (DatasetError, OSError):
        return ''
    return '' if found.format == name and set(names_of_set(image_set)) & set(found.image_sets) else \
        '. The folder looks like dataset.dataset=%s with the image sets %s' % (found.format, listed(found.image_sets))


def make_dataset(name: str, image_set: str, dataset_path: str, *, classes: Sequence[str] | str | None = None,
                 sets: Sequence[str] | None = None, origin: int = 0, **options: Any) -> IMDB:
    """Open a data set.

    Args:
        name, image_set, dataset_path, classes, sets, origin: as of `read_annotated`.
        options: further keyword arguments of the class (see `IMDB`).
    Raises:
        DatasetError: the name is unknown, or the data have a fault.
        FileNotFoundError: there is no such image set, or an image of it is not there.
    """
    data = read_annotated(name, image_set, dataset_path, classes, sets=sets, origin=origin)
    return DATASETS[name].evaluation(data, **options)


def load_imdbs(name: str, image_sets: str, dataset_path: str, **options: Any) -> list[IMDB]:
    """Open each of several image sets.

    Args:
        name, dataset_path, options: as of `make_dataset`.
        image_sets: names joined by '+', such as '2007_trainval+2012_trainval'.
    Raises:
        DatasetError, FileNotFoundError: as `make_dataset`; DatasetError also if the sets differ in their classes.
    """
    names = [image_set.strip() for image_set in image_sets.split('+')]
    if len(set(names)) < len(names):
        logger.warning('%s: a set that is named twice is taken twice', image_sets)
    options.setdefault('sets', names)
    imdbs = [make_dataset(name, image_set, dataset_path, **options) for image_set in names]
    check_same_classes({imdb.name: imdb.data for imdb in imdbs}, 'Give those that all have with dataset.CLASSES')
    return imdbs


def load_gt_roidb(name: str, image_sets: str, dataset_path: str, *, flip: bool = False,
                  **options: Any) -> tuple[list[dict], list[IMDB]]:
    """The images of several image sets with their objects.

    Args:
        name, image_sets, dataset_path, options: as of `load_imdbs`.
        flip: whether mirror images are added; those of a set follow directly after it, as in the release.
    Returns:
        roidb: list of entries, see imdb.py.
        imdbs: the data sets.
    Raises:
        DatasetError, FileNotFoundError: as `load_imdbs`; DatasetError also if there is no object to train on.
    """
    imdbs = load_imdbs(name, image_sets, dataset_path, **options)
    return roidb_of(imdbs, flip=flip), imdbs


def roidb_of(imdbs: Sequence[IMDB], *, flip: bool = False) -> list[dict]:
    """The images of data sets with their objects, to train on. Arguments, result and errors as of `load_gt_roidb`."""
    check_usable(imdbs)
    roidb = []
    for imdb in imdbs:
        entries = imdb.gt_roidb()
        roidb += append_flipped_images(entries) if flip else entries
    return roidb


def published_classes(dataset: str, image_sets: str) -> tuple[str, ...]:
    """The class names, without the background, of image sets whose names are those of VOC or COCO; else ().

    Args:
        dataset: a name of `DATASETS`.
        image_sets: names joined by '+'.
    """
    names, pattern = {'PascalVOC': (VOC_CLASSES, _VOC_SET), 'coco': (COCO_CLASSES, COCO_SET)}.get(dataset, ((), ''))
    return names if all(re.fullmatch(pattern, name.strip()) for name in image_sets.split('+')) else ()
