"""Draw detections on images, on the frames of a video, or on what a camera sees. No screen is needed.

    rfcn demo --cfg X.yaml --params Y.params --image a.jpg [--image FOLDER] --out DIR [--coco found.json]
    rfcn demo --cfg X.yaml --params Y.params --video v.mp4 [--every N] --out DIR [--json found.jsonl]
    rfcn demo --cfg X.yaml --params Y.params --video 0 --out DIR                (camera 0; or rtsp://..., until Ctrl-C)

An image's drawing is a .png in DIR, a video's a Motion JPEG .avi of the same size and frame rate.
"""
import sys
from pathlib import Path

if __package__ in (None, ''):
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a file: the folder of rfcn and lib, not rfcn itself
    from rfcn._compat import check_packages
    check_packages()

import collections
import contextlib
import itertools
import logging
import math
import mimetypes
import os

from lib.dataset.result_files import CocoWriter, JsonWriter, VocWriter, YoloWriter
from lib.errors import DatasetError, or_skipped
from lib.utils.console import counted, progress, shown
from lib.utils.folders import make_folder
from lib.utils.image_file import images_in, imwrite
from lib.utils.show_boxes import draw_detections
from lib.utils.video import (
    EXTENSION,
    SMALLER,
    USUAL_RATE,
    is_live,
    read_frames,
    read_stream,
    steady,
    video_info,
    write_video,
)
from lib.utils.whole_file import is_standard_output
from rfcn.cli.run import add_params, last_checkpoint, log_to, parse_config
from rfcn.cli.script import run_script, share, whole_number_from
from rfcn.core.interrupt import Stopped, StopWish
from rfcn.detector import Detector, as_detections

logger = logging.getLogger(__name__)


def add_arguments(parser):
    """Add the arguments of this command."""
    add_params(parser)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument('--image', action='append', metavar='PATH',
                        help='an image, or a folder of images, without its sub-folders; may be given several times. '
                             'One that cannot be read is an error, or left out with dataset.on_bad_image=skip')
    source.add_argument('--video', metavar='FILE',
                        help='a video in any format that OpenCV reads; a number is a camera and rtsp://... a network '
                             'stream, of which frames are left out while the network is busy, until Ctrl-C')
    parser.add_argument('--every', type=whole_number_from(1), default=1, metavar='N',
                        help="of a video file's frames, take the first and every N-th after it; the drawn video has "
                             'fewer frames a second and lasts as long (default 1: all)')
    parser.add_argument('--frames', type=whole_number_from(1), metavar='N', help='stop after so many frames')
    parser.add_argument('--mp4', action='store_true',
                        help='draw a video into an MPEG-4 file, some five times smaller, where OpenCV can')
    parser.add_argument('--out', required=True, metavar='DIR', help='folder for the drawings')
    parser.add_argument('--json', metavar='FILE',
                        help='also write a line of JSON for each object: image (or video and frame, counted from 0), '
                             'class_name, score, box (x1, y1, x2, y2 in pixels); the last three are null in the one '
                             'line of a picture without objects. - is the standard output; the log then goes to '
                             'stderr')
    parser.add_argument('--coco', metavar='FILE',
                        help='also write the objects of the images as a COCO json file; - as above')
    parser.add_argument('--voc', metavar='FOLDER', help='also write them as text files of VOC, one for each class')
    parser.add_argument('--yolo', metavar='FOLDER', help='also write them as text files of YOLO, one for each image')
    parser.add_argument('--thresh', type=share, default=0.5,
                        help='lowest score that is drawn and written, 0 to 1 (default 0.5)')


def drawing_paths(sources, folder, extension):
    """Where the drawing of each file goes: 'a.png' of a.jpg, 'a_2.png' of another a.jpg, and never onto a source."""
    taken, paths = {os.path.realpath(source) for source in sources}, []
    for source in sources:
        names = itertools.chain([''], ('_%d' % number for number in itertools.count(2)))
        candidates = (os.path.join(folder, Path(source).stem + name + extension) for name in names)
        paths.append(next(path for path in candidates if os.path.realpath(path) not in taken))
        taken.add(os.path.realpath(paths[-1]))
    return paths


def check_options(args, sources):
    """Raise a DatasetError for options that do not go together: also where --json or --coco names a file that is read,
    or both name the same one.
    """
    if args.video and (args.coco or args.voc or args.yolo):
        raise DatasetError('--coco, --voc and --yolo are for images; of a video, --json writes the objects of each '
                           'frame')
    for path in sources if args.image else ():
        if (mimetypes.guess_type(path)[0] or '').startswith('video/'):
            raise DatasetError('--image %s: this is a video: give it with --video' % shown(path))
    if args.every > 1 and (args.image or is_live(args.video)):
        raise DatasetError('--every is for video files; of a camera or stream, the frames that come while the network '
                           'is busy are left out, and of images all are taken')
    if args.image and (args.frames or args.mp4):
        raise DatasetError('--frames and --mp4 are for videos; of images all are taken, each with a drawing')
    taken = {os.path.realpath(path) for path in (*sources, args.out)}
    for option, path in (('--json', args.json), ('--coco', args.coco)):
        if path and os.path.realpath(path) in taken:
            raise DatasetError('%s %s: this file is read, or another option writes it. Give another name'
                               % (option, shown(path)))
        taken.add(path and os.path.realpath(path))


def detect_each(detector, images, thresh):
    """`Detector.detect_each`; the error of one of several images also says how to do without it."""
    skip_bad = detector.cfg.dataset.on_bad_image == 'skip'
    try:
        yield from detector.detect_each(images, thresh, skip_bad)
    except (DatasetError, FileNotFoundError) as error:
        raise or_skipped(error) if len(images) > 1 else error from None


def draw_images(detector, images, args):
    """Log what was found on each image, write its drawing and the files that were asked for."""
    kinds = [(JsonWriter, args.json), (CocoWriter, args.coco), (VocWriter, args.voc), (YoloWriter, args.yolo)]
    drawn = 0
    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(kind(path) if kind is JsonWriter else kind(path, detector.classes[1:]))
                   for kind, path in kinds if path]
        drawings = drawing_paths(images, args.out, '.png')
        for path, drawing, (image, by_class) in zip(images, drawings, detect_each(detector, images, args.thresh)):
            if image is not None:
                found = as_detections(by_class, detector.classes)
                imwrite(drawing, draw_detections(image, by_class, detector.classes))
                for writer in writers:
                    writer.add(path, image.shape[1::-1], found)
                log_found(path, drawing, found, args.thresh)
                drawn += 1
        if not drawn:
            raise DatasetError('none of the %d images could be read' % len(images))


def log_found(path, drawing, found, thresh):
    """A line for the image and one for each object; where there is none, with the lowest score that counts."""
    least = '' if found else ' with a score of %g or more (--thresh)' % thresh
    logger.info('%s: %s%s, drawn in %s', shown(path), counted(len(found), 'object'), least, shown(drawing))
    for detection in found:
        logger.info('  %-16s %.3f  %s', shown(detection.class_name), detection.score,
                    ' '.join('%.1f' % x for x in detection.box))


def draw_video(detector, path, args):
    """Write the video of the drawings and log how many objects of each class its frames had."""
    live = is_live(path)
    name = path if not live else 'camera_%s' % path if path.isdecimal() else 'stream'
    drawing, = drawing_paths([name], args.out, SMALLER if args.mp4 else EXTENSION)
    rate, frames = (USUAL_RATE, 0) if live else video_info(path)
    expected = filter(None, (math.ceil(frames / args.every), args.frames))      # 0: nobody knows
    moments = collections.deque()       # seconds of a stream, or numbers in a file, of the frames that the network sees
    seen = collections.Counter()
    with StopWish() as stop, (JsonWriter(args.json) if args.json else contextlib.nullcontext()) as lines:
        source = frames_of(read_stream(path) if live else enumerate(read_frames(path, args.every)), moments, stop)
        each = detector.detect_each(itertools.islice(source, args.frames), args.thresh)

        def drawings():
            for frame, by_class in progress(each, 'video', 'frame', min(expected, default=None)):
                moment, found = moments.popleft(), as_detections(by_class, detector.classes)
                seen.update(detection.class_name for detection in found)
                if lines:
                    where = {'seconds': round(moment, 3)} if live else {'frame': moment * args.every}
                    lines.write(dict(video=path, **where), found)
                yield moment, draw_detections(frame, by_class, detector.classes)

        drawn = steady(drawings(), rate) if live else (picture for _, picture in drawings())
        count = write_video(drawing, drawn, rate / args.every)
    logger.info('%s: %s, drawn in %s; objects: %s', shown(path), counted(count, 'frame'), shown(drawing),
                ', '.join('%d %s' % (number, shown(name)) for name, number in seen.most_common()) or 'none')
    if stop.signal and not live:
        logger.warning('stopped by %s: the rest of the video is not drawn', stop.signal.name)
        raise Stopped(stop.signal)


def frames_of(moments_and_frames, moments, stop):
    """Yield the frames until the wish to stop; the moment of each goes to the end of `moments`."""
    for moment, frame in moments_and_frames:
        moments.append(moment)
        yield frame
        if stop.signal:
            return


def main(argv=None):
    """Entry point."""
    cfg, args = parse_config(__doc__, argv, add_arguments)
    log_to(None, cfg.default.log_level, 'stderr' if any(map(is_standard_output, (args.json, args.coco))) else 'stdout')
    images = [path for given in args.image or () for path in (images_in(given) if os.path.isdir(given) else [given])]
    params = args.params or last_checkpoint(cfg, args.cfg)
    check_options(args, [args.cfg, params] + (images or [args.video]))
    detector = Detector(cfg, params)
    make_folder(args.out)
    if args.video:
        draw_video(detector, args.video, args)
    else:
        draw_images(detector, images, args)


if __name__ == '__main__':
    run_script(main)
