"""Write a trained detector for other programs.

    rfcn export --cfg config.yaml --params rfcn_voc-0007.params --out model.onnx [--detections] [--image street.jpg]
    rfcn export --cfg config.yaml --params rfcn_voc-0007.params --out PREFIX-symbol.json

model.onnx runs in ONNX Runtime and OpenVINO, without MXNet and without this project: see examples/detect_onnx.py.
PREFIX-symbol.json and PREFIX-0000.params load in plain MXNet, without this project. See docs/in_and_out.md.
"""
import logging
from pathlib import Path

import numpy as np

from lib.errors import ConfigError
from lib.utils.folders import make_folder
from lib.utils.image_file import imread
from rfcn import data_sets
from rfcn.checkpoints.checkpoint import SYMBOL_END
from rfcn.cli.run import log_to, parse_config
from rfcn.cli.script import whole_number_from
from rfcn.config.config import with_overrides
from rfcn.detector import Detector
from rfcn.exporters import onnx_check
from rfcn.exporters.onnx_file import export_onnx
from rfcn.exporters.plain import export_plain

logger = logging.getLogger(__name__)
INSTALL = 'pip install onnxruntime openvino'


def add_arguments(parser):
    """Add the arguments of this command."""
    parser.add_argument('--params', required=True, help='the checkpoint, .params')
    parser.add_argument('--out', required=True, metavar='FILE', help='model.onnx, or PREFIX-symbol.json')
    parser.add_argument('--detections', action='store_true',
                        help='ONNX: boxes, scores and classes of the detections, in place of what the network says of '
                             'each RoI')
    parser.add_argument('--image', action='append', metavar='PATH',
                        help='ONNX: a picture on which the file is compared with MXNet; may be given several times '
                             '(default: two made-up pictures)')
    parser.add_argument('--repeat', type=whole_number_from(1), default=1, metavar='N',
                        help='ONNX: time the fastest of N runs')


def made_up_images():
    """Two pictures of rectangles on noise, of different shapes."""
    draws = np.random.RandomState(0)
    images = []
    for height, width in ((240, 320), (310, 200)):
        image = draws.randint(60, 190, (height, width, 3)).astype(np.uint8)
        for _ in range(6):
            y, x, sides = draws.randint(height - 60), draws.randint(width - 60), draws.randint(20, 60, 2)
            image[y:y + sides[0], x:x + sides[1]] = draws.randint(0, 256, 3)
        images.append(image)
    return images


def check(cfg, params, path, images, repeat=1):
    """Compare an ONNX file with MXNet in each runtime that is installed, and log the result.

    Returns:
        whether all are equal within the limits of `rfcn.exporters.onnx_check`; None where no runtime is installed.
    """
    runtimes = onnx_check.installed_runtimes()
    if not runtimes:
        logger.warning('%s was not run, because neither ONNX Runtime nor OpenVINO is installed: %s', path, INSTALL)
        return None
    detector = Detector(cfg, params)
    results = [onnx_check.compare(detector, path, images, runtime, repeat) for runtime in runtimes]
    for result in results:
        logger.info('%s', result)
    return all(result.equal for result in results)


def main(argv=None):
    """Entry point. Returns 1 where the file does not compute what MXNet does."""
    cfg, args = parse_config(__doc__, argv, add_arguments)
    log_to(None, cfg.default.log_level)
    # As the file computes; so an INT8 model, whose biases are for rounded weights, is refused.
    cfg = with_overrides(data_sets.with_classes(cfg, args.params), {'TEST.PRECISION': 'fp32'})
    if not args.out.endswith((SYMBOL_END, '.onnx')):
        raise ConfigError('--out %s: write a name that ends in .onnx or in %s' % (args.out, SYMBOL_END))
    if args.out.endswith(SYMBOL_END) and (args.detections or args.image or args.repeat > 1):
        raise ConfigError('--detections, --image and --repeat are for ONNX: leave them out, or write a name that ends '
                          'in .onnx, not %s' % args.out)
    make_folder(Path(args.out).absolute().parent)
    if args.out.endswith(SYMBOL_END):
        logger.info('wrote %s and %s', *export_plain(cfg, args.params, args.out))
        return 0
    images = [imread(path, cfg.dataset.MAX_PIXELS) for path in args.image] if args.image else made_up_images()
    export_onnx(cfg, args.params, args.out, args.detections)
    logger.info('wrote %s', args.out)
    return int(check(cfg, args.params, args.out, images, args.repeat) is False)
