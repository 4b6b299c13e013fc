"""Draw detections on images: `python rfcn/demo.py --cfg X.yaml --params Y.params --image a.jpg [--image b.png] --out DIR`."""
import sys
from pathlib import Path

if __package__ in (None, ''):
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a file: the folder of rfcn and lib, not rfcn itself

import logging

import cv2

from lib.utils.show_boxes import draw_detections
from rfcn.command_line import log_to, parse_config
from rfcn.detector import Detector, as_detections

logger = logging.getLogger(__name__)


def add_arguments(parser):
    """Of this script."""
    parser.add_argument('--params', required=True, help='checkpoint, .params')
    parser.add_argument('--image', required=True, action='append', help='an image; may be given several times')
    parser.add_argument('--out', required=True, help='folder for the drawn images')
    parser.add_argument('--thresh', type=float, default=0.5, help='lowest score that is drawn (default 0.5)')


def draw(path, image, by_class, classes, out):
    """Print what was found on one image and write the drawing to `out`."""
    found = as_detections(by_class, classes)
    drawing = str(Path(out) / (Path(path).stem + '.png'))
    if not cv2.imwrite(drawing, draw_detections(image, by_class, classes)):
        raise OSError('%s could not be written' % drawing)
    logger.info('%s: %d objects, drawn in %s', path, len(found), drawing)
    for detection in found:
        logger.info('  %-16s %.3f  %s', detection.class_name, detection.score,
                    ' '.join('%.1f' % x for x in detection.box))


def main(argv=None):
    """Entry point."""
    cfg, args = parse_config(__doc__, argv, add_arguments)
    log_to(None, cfg.default.log_level)
    detector = Detector(cfg, args.params)
    Path(args.out).mkdir(parents=True, exist_ok=True)
    for path, (image, by_class) in zip(args.image, detector.detect_each(args.image, args.thresh)):
        draw(path, image, by_class, detector.classes, args.out)


if __name__ == '__main__':
    main()
