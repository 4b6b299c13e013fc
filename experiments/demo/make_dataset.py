"""Make the demo's data set: pictures of rendered things in the layout of PASCAL VOC.

    python experiments/demo/make_dataset.py --out data/demo

writes Annotations/*.xml, JPEGImages/*.jpg and ImageSets/Main/{train,val,test}.txt below the folder. Boxes bound the
whole thing, what others hide of it too, clipped to the picture; corners are VOC's: integers, the first pixel is 1. Each
picture has a random state of its own, made of the seed, the split and its number. A folder that holds what is asked for
is left alone.
"""
import sys
from pathlib import Path

if __package__ in (None, ''):
    sys.path[0] = str(Path(__file__).resolve().parents[2])  # run as a file: the project's folder

import hashlib
import json
import shutil

import cv2
import numpy as np

from experiments.demo.scene import draw_scene
from experiments.demo.shapes import CLASSES
from lib.errors import DatasetError
from lib.utils.console import say
from lib.utils.folders import locked_folder
from lib.utils.whole_file import naming
from rfcn.cli.script import make_parser, run_script, whole_number_from

SPLITS = ('train', 'val', 'test')
TRAIN, VAL, TEST, SIZE = 1600, 100, 200, 160   # pictures, and the side of one in pixels: the demo's
SMALLEST = 16   # side that the patterns of the background need
FOLDERS = ('Annotations', 'ImageSets', 'JPEGImages')
STAMP = 'made_by_demo.json'
JPEG_QUALITY = 92
SOURCES = ('make_dataset.py', 'scene.py', 'paint.py', 'shapes.py')

ANNOTATION = """<annotation>
  <folder>demo</folder>
  <filename>{index}.jpg</filename>
  <size><width>{width}</width><height>{height}</height><depth>3</depth></size>
  <segmented>0</segmented>
{objects}</annotation>
"""
OBJECT = """  <object>
    <name>{name}</name>
    <pose>Unspecified</pose>
    <truncated>{truncated:d}</truncated>
    <difficult>0</difficult>
    <bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox>
  </object>
"""


def draw_image(seed, split, number, size):
    """Picture `number` of a split, which these four numbers determine: (size, size, 3) uint8 and its list of Thing."""
    return draw_scene(np.random.RandomState([seed, SPLITS.index(split), number]), size)


def annotation(index, image, things):
    """The text of a VOC annotation. VOC counts pixels from 1, our boxes from 0."""
    objects = ''.join(OBJECT.format(*(corner + 1 for corner in thing.box), name=thing.name, truncated=thing.truncated)
                      for thing in things)
    return ANNOTATION.format(index=index, height=image.shape[0], width=image.shape[1], objects=objects)


def write_split(out, split, count, size, seed):
    """Draw and write all pictures of a split, their annotations and the list of their names."""
    names = ['{}_{:04d}'.format(split, number) for number in range(count)]
    for number, name in enumerate(names):
        image, things = draw_image(seed, split, number, size)
        _, jpeg = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        write(out / 'JPEGImages' / (name + '.jpg'), jpeg.tobytes())
        write(out / 'Annotations' / (name + '.xml'), annotation(name, image, things).encode())
    write(out / 'ImageSets' / 'Main' / (split + '.txt'), ''.join(name + '\n' for name in names).encode())


def write(path, data):
    """Write a file without waiting for the disk: a data set without its stamp is made anew. Errors name the file."""
    with naming([path]):
        path.write_bytes(data)


def source_digest():
    """A digest of the code that draws, so that a change of it makes the data set anew."""
    folder = Path(__file__).resolve().parent
    return hashlib.sha256(b''.join((folder / name).read_bytes() for name in SOURCES)).hexdigest()


def claim(out):
    """Take `out`, an earlier data set of ours or a new folder, for one that is not finished.

    Raises:
        DatasetError: `out` holds files but no stamp, so that they are somebody else's.
    """
    if out.is_dir() and any(out.iterdir()) and not (out / STAMP).is_file():
        raise DatasetError('{}: expected a new or empty folder, or a data set made before (with {}), but found other '
                           'files; give another folder'.format(out, STAMP))
    out.mkdir(parents=True, exist_ok=True)
    write(out / STAMP, b'{}')  # ours, but unfinished: an interrupted call is made good by the next


def clear(out):
    """Empty the three folders of `out`."""
    for folder in FOLDERS:
        shutil.rmtree(str(out / folder), ignore_errors=True)
    for folder in ('Annotations', 'ImageSets/Main', 'JPEGImages'):
        (out / folder).mkdir(parents=True)


def make_dataset(out, train=TRAIN, val=VAL, test=TEST, size=SIZE, seed=0):
    """Write the data set to the folder `out`, unless it is there already.

    Args:
        out: path of the folder.
        train, val, test: number of pictures of each split.
        size: side of the pictures, pixels.
        seed: an integer of 0 or more.
    Returns:
        bool, whether anything was written.
    Raises:
        DatasetError: the folder holds other files.
        FolderInUse: another call is drawing there.
    """
    out = Path(out)
    counts = {'train': train, 'val': val, 'test': test}
    stamp = json.dumps(dict(counts, size=size, seed=seed, source=source_digest()), indent=2, sort_keys=True) + '\n'
    if (out / STAMP).is_file() and (out / STAMP).read_text() == stamp:
        return False
    claim(out)
    with locked_folder(out):
        clear(out)
        for split in SPLITS:
            write_split(out, split, counts[split], size, seed)
        write(out / STAMP, stamp.encode())
    return True


def main(argv=None):
    """Entry point."""
    parser = make_parser('Make a VOC-format data set of rendered things: ' + ', '.join(CLASSES))
    parser.add_argument('--out', required=True, help='folder to write')
    count = whole_number_from(0)
    parser.add_argument('--train', type=count, default=TRAIN, help='number of training pictures (default: %(default)s)')
    parser.add_argument('--val', type=count, default=VAL, help='number of validation pictures (default: %(default)s)')
    parser.add_argument('--test', type=count, default=TEST, help='number of held-out pictures (default: %(default)s)')
    parser.add_argument('--size', type=whole_number_from(SMALLEST), default=SIZE,
                        help='side of a picture in pixels (default: %(default)s)')
    parser.add_argument('--seed', type=whole_number_from(0, 2 ** 32 - 1), default=0,
                        help='seed of all pictures (default: %(default)s)')
    args = parser.parse_args(argv)
    written = make_dataset(**vars(args))
    say('{}: {} with {} classes: {}'.format(args.out, 'written' if written else 'already there', len(CLASSES),
                                            ', '.join(CLASSES)))


if __name__ == '__main__':
    run_script(main)
