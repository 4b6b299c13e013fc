"""Show why the network decides what it decides, or what training images teach it.

    rfcn explain --cfg X.yaml --params Y.params --image a.jpg [--class NAME] [--detection N] --out DIR
    rfcn explain --cfg X.yaml --params Y.params --image a.jpg --box 40 30 180 220 --class dog --out DIR
    rfcn explain --train --cfg X.yaml [--params Y.params] [--images 4 | --image 000012.jpg] --out DIR

The first two take one decision apart: score maps, bins, votes, box, proposals, NMS. The third shows what training makes
of its images: anchors, proposals, RoIs, losses, which RoIs OHEM keeps, and which objects no anchor or RoI trains on.
Look there first when a training learns nothing. Writes PNG files and one page that needs no other file.
"""
import logging

from lib.errors import ConfigError, UserError
from lib.utils.console import shown
from lib.utils.folders import check_folder
from rfcn import data_sets
from rfcn.cli.run import log_to, parse_config
from rfcn.cli.script import whole_number_from
from rfcn.detector import Detector
from rfcn.explaining.decision import explain
from rfcn.explaining.pages import write_explanation, write_training_page
from rfcn.explaining.training import training_images

logger = logging.getLogger('rfcn')


def add_arguments(parser):
    """Add the arguments of this command."""
    parser.add_argument('--params',
                        help='checkpoint, .params; with --train by default the first values of the training')
    parser.add_argument('--image', metavar='PATH',
                        help='an image; with --train one of the training set, by its name or the end of its path')
    parser.add_argument('--train', action='store_true', help='show what training images teach')
    parser.add_argument('--images', type=whole_number_from(1), metavar='N',
                        help='with --train: the first N images of the first epoch (default 1)')
    parser.add_argument('--class', dest='class_name', metavar='NAME',
                        help='the class to explain (default: that of the detection, or the likeliest of the box)')
    what = parser.add_mutually_exclusive_group()
    what.add_argument('--box', nargs=4, type=float, metavar=('X1', 'Y1', 'X2', 'Y2'),
                      help='any RoI, in pixels of the image')
    what.add_argument('--detection', type=whole_number_from(0), metavar='N',
                      help='number of the detection, the best is 0 (default 0); with --class, of that class')
    parser.add_argument('--out', required=True, metavar='DIR', help='folder for the pictures and the page')


def check_options(args):
    """Raise a UserError for an option that belongs to the other kind of explanation and would do nothing."""
    if args.train:
        given = [option for option, value in (('--box', args.box), ('--class', args.class_name),
                                              ('--detection', args.detection)) if value is not None]
        if given:
            raise UserError('%s is for explaining a decision of the network, and --train shows what training images '
                            'teach: leave one of the two out' % given[0])
    elif args.images:
        raise UserError('--images is for --train; without it a decision on one image is explained, that of --image')


def explain_decision(cfg, args):
    """One image, one decision."""
    if not args.params or not args.image:
        raise ConfigError('to explain a decision, name --params and --image; what training sees is shown with --train')
    detector = Detector(cfg, args.params)
    try:
        explanation = explain(detector, args.image, args.box, args.class_name, args.detection or 0)
    except UserError:
        raise
    except ValueError as error:
        raise UserError('%s: %s' % (shown(args.image), error)) from error
    page = write_explanation(explanation, args.out, args.image)
    roi = explanation.votes[0]
    logger.info('%s: %s, vote %.4f, softmax %.4f', shown(args.image), shown(explanation.class_name),
                roi.cls_score[explanation.class_number], roi.cls_prob[explanation.class_number])
    logger.info('wrote %s', shown(page))


def explain_training(cfg, args):
    """What training images teach."""
    images, cfg = [], data_sets.with_classes(cfg, args.params)
    for image in training_images(cfg, args.params, args.images or 1, args.image and [args.image]):
        logger.info('%s: %s', shown(image.path), shown(' '.join(image.sentences())))
        images.append(image)
    logger.info('wrote %s', shown(write_training_page(images, args.out)))


def main(argv=None):
    """Entry point."""
    cfg, args = parse_config(__doc__, argv, add_arguments)
    check_options(args)
    log_to(None, cfg.default.log_level)
    check_folder(args.out)
    (explain_training if args.train else explain_decision)(cfg, args)
