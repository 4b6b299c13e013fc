"""Show why the network decides what it decides: score maps, bins, votes, boxes, proposals, NMS.

    rfcn explain --cfg X.yaml --params Y.params --image a.jpg [--class NAME] [--detection N] --out DIR
    rfcn explain --cfg X.yaml --params Y.params --image a.jpg --box 40 30 180 220 --class dog --out DIR

Writes PNG files and one page, explanation.html, which needs no other file.
"""
import logging

from lib.utils.shown import shown
from rfcn.cli.run import log_to, parse_config
from rfcn.detector import Detector
from rfcn.explaining.decision import explain
from rfcn.explaining.page import write_explanation
from lib.errors import UserError

logger = logging.getLogger('rfcn')


def add_arguments(parser):
    """Of this command."""
    parser.add_argument('--params', required=True, help='checkpoint, .params')
    parser.add_argument('--image', required=True, metavar='PATH', help='an image')
    parser.add_argument('--class', dest='class_name', metavar='NAME',
                        help='the class to explain (default: that of the detection, or the likeliest of the box)')
    what = parser.add_mutually_exclusive_group()
    what.add_argument('--box', nargs=4, type=float, metavar=('X1', 'Y1', 'X2', 'Y2'),
                      help='any RoI, in pixels of the image')
    what.add_argument('--detection', type=int, default=0, metavar='N',
                      help='number of the detection, the best is 0 (default 0); with --class, of that class')
    parser.add_argument('--out', required=True, metavar='DIR', help='folder for the pictures and the page')


def main(argv=None):
    """Entry point."""
    cfg, args = parse_config(__doc__, argv, add_arguments)
    log_to(None, cfg.default.log_level)
    detector = Detector(cfg, args.params)
    try:
        explanation = explain(detector, args.image, args.box, args.class_name, args.detection)
    except ValueError as error:
        raise UserError('%s: %s' % (shown(args.image), error)) from error
    page = write_explanation(explanation, args.out, args.image)
    roi = explanation.votes[0]
    logger.info('%s: %s, vote %.4f, softmax %.4f', shown(args.image), shown(explanation.class_name),
                roi.cls_score[explanation.class_number], roi.cls_prob[explanation.class_number])
    logger.info('wrote %s', shown(page))
