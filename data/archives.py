"""The public archives: their addresses, sizes, checksums and folders; and COCO's minival split, which is made of them.

The checksums are the MD5 sums that torchvision publishes for PASCAL VOC, and those that independent downloaders of COCO
agree on. An archive without one is checked by its length, and by the CRC of each member of a zip file.
"""
from __future__ import annotations

import json
import os
from typing import NamedTuple, Sequence

from data.download import FetchError
from lib.utils.whole_file import whole_files

_VOC = 'http://host.robots.ox.ac.uk/pascal/VOC/'
_COCO = 'http://images.cocodataset.org/'
MINIVAL = 'minival'  # not an archive: made from the annotations of 2014 and 2017
DEFAULT_SETS = {'voc': ('2007', '2012'), 'coco': ('2014', MINIVAL)}
MINIVAL_IMAGES, OTHER_IMAGES = 5000, 35504
MINIVAL_FILES = ('instances_minival2014.json', 'instances_valminusminival2014.json')


class Archive(NamedTuple):
    """An archive to fetch. Megabytes are 10^6 bytes, rounded."""
    url: str
    md5: str | None     # in hexadecimal
    megabytes: int      # to load
    unpacked: int       # megabytes on the disk once unpacked
    folder: str         # to unpack into, below the data folder
    evidence: str       # a file or folder that is there afterwards, below the data folder


def _voc(url, md5, megabytes, year, image_set):
    return Archive(url, md5, megabytes, megabytes, '', 'VOCdevkit/VOC%s/ImageSets/Main/%s.txt' % (year, image_set))


def _images(name, md5, megabytes):
    return Archive(_COCO + 'zips/%s.zip' % name, md5, megabytes, megabytes, 'coco/images', 'coco/images/' + name)


def _annotations(name, evidence, megabytes, md5):
    return Archive(_COCO + 'annotations/%s.zip' % name, md5, megabytes, 4 * megabytes, 'coco',
                   'coco/annotations/%s.json' % evidence)


_ANNOTATIONS_2014 = _annotations('annotations_trainval2014', 'instances_val2014', 253,
                                 '0a379cfc70b0e71301e0f377548639bd')
_ANNOTATIONS_2017 = _annotations('annotations_trainval2017', 'instances_val2017', 253,
                                 'f4bbac642086de4f52a3fdda2de5fa2c')

SETS = {
    'voc': {
        '2007': (_voc(_VOC + 'voc2007/VOCtrainval_06-Nov-2007.tar', 'c52e279531787c972589f7e41ab4ae64', 460,
                      '2007', 'trainval'),
                 _voc(_VOC + 'voc2007/VOCtest_06-Nov-2007.tar', 'b6e924de25625d8de591ea690078ad9f', 451,
                      '2007', 'test')),
        '2012': (_voc(_VOC + 'voc2012/VOCtrainval_11-May-2012.tar', '6cd6e144f989b92b3379bac3b3de84fd', 2000,
                      '2012', 'trainval'),),
        # The official server gives it only to registered users; this is the well-known copy.
        '2012test': (_voc('https://data.pjreddie.com/files/VOC2012test.tar', '9065beb292b6c291fad82b2725749fda', 1850,
                          '2012', 'test'),),
    },
    'coco': {
        '2014': (_images('train2014', '0da8c0bd3d6becc4dcb32757491aca88', 13511),
                 _images('val2014', 'a3d79f5ed8d289b7a7554ce06a5782b3', 6645), _ANNOTATIONS_2014),
        MINIVAL: (_ANNOTATIONS_2014, _ANNOTATIONS_2017),
        '2017': (_images('train2017', 'cced6f7f71b7629ddf16f17bbcfab6b2', 19337),
                 _images('val2017', '442b8da7639aecaf257c1dceb8ba8c80', 816), _ANNOTATIONS_2017),
        'test2015': (_images('test2015', '65562e58af7d695cc47356951578c041', 13300),
                     _annotations('image_info_test2015', 'image_info_test-dev2015', 2, None)),
        'test2017': (_images('test2017', '77ad2c53ac5d0aea611d422c0938fb35', 6647),
                     _annotations('image_info_test2017', 'image_info_test-dev2017', 1,
                                  '85da7065e5e600ebfee8af1edb634eb5')),
    },
}


def chosen(dataset: str, names: Sequence[str]) -> list[Archive]:
    """The archives of the named sets of 'voc' or 'coco', in order, each once."""
    return list(dict.fromkeys(archive for name in names for archive in SETS[dataset][name]))


def is_split(folder: str) -> bool:
    """Whether both files of the minival split are in the folder of annotations."""
    return all(os.path.exists(os.path.join(folder, name)) for name in MINIVAL_FILES)


def split_minival(folder: str, *, counts: tuple[int, int] = (MINIVAL_IMAGES, OTHER_IMAGES)) -> None:
    """Split COCO's val2014 as papers report it: minival2014, 5000 images, and valminusminival2014, the other 35504.

    The images of val2017 are exactly those of minival2014 (Detectron's MODEL_ZOO.md), so that nothing else is needed:
    the annotations are those of val2014, the choice of images is that of val2017.

    Args:
        folder: of the annotations of both years; two files are written into it.
        counts: how many images the two parts must have.
    Raises:
        FileNotFoundError: the annotations of a year are not there.
        FetchError: a file is damaged, val2014 lacks images of val2017, or the counts differ.
    """
    chosen = {image['id'] for image in _read(os.path.join(folder, 'instances_val2017.json'))['images']}
    val2014 = _read(os.path.join(folder, 'instances_val2014.json'))
    halves = [_part(val2014, chosen.__contains__), _part(val2014, lambda identifier: identifier not in chosen)]
    found = tuple(len(half['images']) for half in halves)
    if found != tuple(counts) or found[0] != len(chosen):
        raise FetchError('%s: expected %d and %d images in minival and the rest, not %d and %d: instances_val2014.json'
                         ' or instances_val2017.json is not the official one' % ((folder,) + tuple(counts) + found))
    with whole_files([os.path.join(folder, name) for name in MINIVAL_FILES]) as temporaries:
        for path, half in zip(temporaries, halves):
            with open(path, 'w', encoding='utf-8') as file:
                json.dump(half, file)


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
