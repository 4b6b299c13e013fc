"""Draw detections on images, or on the frames of a video. No screen is needed.

    rfcn demo --cfg X.yaml --params Y.params --image a.jpg [--image FOLDER] --out DIR
    rfcn demo --cfg X.yaml --params Y.params --video v.mp4 [--every N] --out DIR [--json found.jsonl]

An image's drawing is a .png in DIR, a video's a Motion JPEG .avi of the same size and frame rate.
"""
import sys
from pathlib import Path

if __package__ in (None, ''):
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a file: the folder of rfcn and lib, not rfcn itself

import argparse
import contextlib
import itertools
import json
import logging
import os
from collections import Counter

import cv2
from tqdm import tqdm

from lib.errors import DatasetError
from lib.utils.image import images_in
from lib.utils.show_boxes import draw_detections
from lib.utils.video import EXTENSION, read_frames, video_info, write_video
from lib.utils.whole_file import whole_text
from rfcn.cli.run import log_to, parse_config
from rfcn.detector import Detector, as_detections
from rfcn.cli.script import run_script

logger = logging.getLogger(__name__)


def add_arguments(parser):
    """Of this script."""
    parser.add_argument('--params', required=True, help='checkpoint, .params')
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument('--image', action='append', metavar='PATH',
                        help='an image, or a folder of images, without its sub-folders; may be given several times. '
                             'One that cannot be read is an error, or left out with dataset.on_bad_image=skip')
    source.add_argument('--video', metavar='FILE', help='a video in any format that OpenCV reads')
    parser.add_argument('--every', type=_positive, default=1, metavar='N',
                        help="of a video's frames, take the first and every N-th after it; the drawn video has fewer "
                             'frames a second and lasts as long (default 1: all)')
    parser.add_argument('--out', required=True, metavar='DIR', help='folder for the drawings')
    parser.add_argument('--json', metavar='FILE',
                        help='also write a line of JSON for each object: image (or video and frame, counted from 0), '
                             'class_name, score, box (x1, y1, x2, y2 in pixels)')
    parser.add_argument('--thresh', type=float, default=0.5, help='lowest score that is drawn (default 0.5)')


def _positive(text):
    if not (text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError('expected a whole number from 1, not %r' % text)
    return int(text)


def drawing_paths(sources, folder, extension):
    """Where the drawing of each file goes: 'a.png' of a.jpg, 'a_2.png' of another a.jpg, and never onto a source."""
    taken, paths = {os.path.realpath(source) for source in sources}, []
    for source in sources:
        names = itertools.chain([''], ('_%d' % number for number in itertools.count(2)))
        candidates = (os.path.join(folder, Path(source).stem + name + extension) for name in names)
        paths.append(next(path for path in candidates if os.path.realpath(path) not in taken))
        taken.add(os.path.realpath(paths[-1]))
    return paths


@contextlib.contextmanager
def json_lines(path):
    """A function (where: dict, list of Detection) that writes a line for each; without a path it does nothing."""
    if path is None:
        yield lambda where, found: None
        return
    with whole_text(path) as file:
        def write(where, found):
            for name, score, box in found:
                line = dict(where, class_name=name, score=round(score, 6), box=[round(x, 2) for x in box.tolist()])
                file.write(json.dumps(line, ensure_ascii=False) + '\n')
        yield write


def draw_images(detector, images, args, note):
    """Print what was found on each image and write its drawing."""
    skip_bad = detector.cfg.dataset.on_bad_image == 'skip'
    drawn = 0
    each = detector.detect_each(images, args.thresh, skip_bad)
    for path, drawing, (image, by_class) in zip(images, drawing_paths(images, args.out, '.png'), each):
        if image is not None:
            draw(path, image, by_class, detector.classes, drawing, note)
            drawn += 1
    if not drawn:
        raise DatasetError('none of the %d images could be read' % len(images))


def draw(path, image, by_class, classes, drawing, note):
    """One image's part of it."""
    found = as_detections(by_class, classes)
    if not cv2.imwrite(drawing, draw_detections(image, by_class, classes)):
        raise OSError('%s could not be written' % drawing)
    note({'image': path}, found)
    logger.info('%s: %d objects, drawn in %s', path, len(found), drawing)
    for detection in found:
        logger.info('  %-16s %.3f  %s', detection.class_name, detection.score,
                    ' '.join('%.1f' % x for x in detection.box))


def draw_video(detector, path, args, note):
    """Write the video of the drawings and print how many objects of each class its frames had."""
    rate, frames = video_info(path)
    drawing, = drawing_paths([path], args.out, EXTENSION)
    each = detector.detect_each(read_frames(path, args.every), args.thresh)
    each = tqdm(each, total=-(-frames // args.every) or None, desc='video', unit='frame', mininterval=1)
    seen = Counter()

    def drawings():
        for number, (frame, by_class) in zip(itertools.count(0, args.every), each):
            found = as_detections(by_class, detector.classes)
            seen.update(detection.class_name for detection in found)
            note({'video': path, 'frame': number}, found)
            yield draw_detections(frame, by_class, detector.classes)

    count = write_video(drawing, drawings(), rate / args.every)
    logger.info('%s: %d frames, drawn in %s; objects: %s', path, count, drawing,
                ', '.join('%d %s' % (number, name) for name, number in seen.most_common()) or 'none')


def main(argv=None):
    """Entry point."""
    cfg, args = parse_config(__doc__, argv, add_arguments)
    log_to(None, cfg.default.log_level)
    images = [path for given in args.image or () for path in (images_in(given) if os.path.isdir(given) else [given])]
    detector = Detector(cfg, args.params)
    Path(args.out).mkdir(parents=True, exist_ok=True)
    with json_lines(args.json) as note:
        if args.video:
            draw_video(detector, args.video, args, note)
        else:
            draw_images(detector, images, args, note)


if __name__ == '__main__':
    run_script(main)
