"""Converts data sets between the layout of PASCAL VOC, COCO's json, CSV lists of boxes and YOLO's text files."""
from __future__ import annotations

import filecmp
import os
import re
import shutil
from typing import Callable, Iterable, Sequence

from lib.dataset import DATASETS, read_annotated
from lib.dataset.annotations import AnnotatedSet, Picture, check_same_classes, unknown_labels, without_unknown
from lib.dataset.box_rule import hints
from lib.dataset.faults import Faults, some_texts, stopping
from lib.dataset.files import inside
from lib.dataset.image_sizes import matching_head, note_orientation
from lib.dataset.names import NO_TEXT
from lib.errors import DatasetError
from lib.utils.folders import whole_folder


def convert(source: str, target: str, image_sets: list[str], dataset_path: str, out: str, *,
            classes: Sequence[str] | str | None = None, images: str = 'copy', origin: int = 0,
            on_unknown_class: str = 'error', progress: Callable = iter) -> tuple[dict[str, AnnotatedSet], list[str]]:
    """Convert image sets of a data set: all of them, or none if anything is wrong.

    Kept are boxes as written, classes and their order, sizes and names of images, and images without objects. Not kept
    are the segmentations, key points, ids and licences of COCO's json, and the pose, parts and flags other than
    difficult of VOC's XML.

    Args:
        source, target: 'PascalVOC', 'coco', 'csv' or 'yolo'.
        image_sets: their names; '.', the whole folder, becomes the set 'all'.
        dataset_path: folder of the data set.
        out: folder, new or empty. It gets its name when everything is written.
        classes: class names, or the path of a text file with a name per line; None takes those of the data.
        images: 'copy', 'link' (symbolic links) or 'none'.
        origin: of a CSV list, see `read_csv`.
        on_unknown_class: 'error', or 'ignore' to leave objects of other classes out.
        progress: wraps the list of pictures to show a bar, as tqdm does.
    Returns:
        sets: image set -> what was written.
        notes: what the target format cannot state, and those of `complete_set`.
    Raises:
        FileNotFoundError: there is no such data set, or an image is missing.
        DatasetError: the data have a fault, no set is named, or two that would get one name, or `out` is not empty.
    """
    for name in (source, target):
        if name not in DATASETS:
            raise DatasetError("unknown format '%s'; known are %s" % (name, ', '.join(DATASETS)))
    if not image_sets:
        raise DatasetError('%s: expected the name of an image set, or of several, found none' % dataset_path)
    if {'.', 'all'} <= set(image_sets):
        raise DatasetError("%s: the set '.' is written under the name all, which is that of another set here. Convert "
                           'one of them' % dataset_path)
    with whole_folder(out) as folder:
        sets, notes = {}, []
        for name in image_sets:
            data = read_annotated(source, name, dataset_path, classes, sets=image_sets, origin=origin)
            if on_unknown_class == 'ignore':
                data = without_unknown(data)
            sets['all' if name == '.' else name], of_set = complete_set(data)
            notes += of_set
        check_same_classes(sets, 'Give those that all have with --classes')
        lost, folders = DATASETS[target].write(sets, folder)
        for image_set, data in sets.items():
            place_images(progress(data.pictures), folders[image_set], images)
    return sets, lost + notes


def complete_set(data: AnnotatedSet) -> tuple[AnnotatedSet, list[str]]:
    """An annotated set with the size of every image, as its header states it: to be written in another form.

    Returns:
        data: the set.
        notes: what the reader had to tell, of files that do not count and the like; pictures with an orientation that
            other tools may apply; what boxes may mean (`hints`). Some of each kind.
    Raises:
        DatasetError: the set has no annotations, a fault that stops training, an unknown label, an image of another
            size than annotated, or a class name that a text file does not hold.
    """
    faults = stopping(data.faults) + unknown_labels(data)
    if faults:
        raise DatasetError('%s. rfcn check lists all faults (%d here; --cfg is any configuration, behind it '
                           'dataset.dataset=%s dataset.dataset_path=FOLDER dataset.image_set=%s), and its --fix leaves '
                           'out what cannot be read'
                           % (faults[0].text.rstrip('.'), len(faults), data.format, data.image_set))
    if not data.annotated:
        raise DatasetError('%s: has no annotations; there is nothing to convert' % data.name)
    lost = [name for name in data.classes if re.search(NO_TEXT, name)]
    if lost:
        raise DatasetError('%s: expected class names without control characters, found %r. Rename the class'
                           % (data.name, lost[0]))
    heads, turned = [matching_head(picture) for picture in data.pictures], Faults()
    for picture, head in zip(data.pictures, heads):
        note_orientation(turned, picture, head.orientation)
    pictures = [picture._replace(size=head.size) for picture, head in zip(data.pictures, heads)]
    doubts = hints(data, [head.size for head in heads])
    return data._replace(pictures=pictures), some_texts(data.faults + turned + doubts)


def place_images(pictures: Iterable[Picture], folder: str, how: str = 'copy') -> None:
    """Copy the images of pictures into a folder, or make links to them.

    Args:
        pictures: those of a set; each keeps its name.
        folder: to write to.
        how: 'copy', 'link' (symbolic links) or 'none'.
    Raises:
        DatasetError: another file of that name is there, or a name leads out of the folder.
    """
    for picture in pictures:
        target = inside(folder, picture.name)
        if how == 'none' or os.path.exists(target) and filecmp.cmp(picture.path, target, shallow=False):
            continue
        if os.path.lexists(target):
            raise DatasetError('%s: another file of this name is there; expected the image %s or none. If it is '
                               'another image of the data set, rename one of them' % (target, picture.path))
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if how == 'link':
            os.symlink(os.path.abspath(picture.path), target)
        else:
            shutil.copyfile(picture.path, target)
