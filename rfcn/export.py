"""Take a trained detector elsewhere: `rfcn export --cfg X.yaml --params Y.params --out model.onnx`.

    --out model.onnx            ONNX: runs in ONNX Runtime and OpenVINO, without MXNet and this project
    --out PREFIX-symbol.json    plain MXNet: PREFIX-symbol.json and PREFIX-0000.params, without this project
"""
import logging
from pathlib import Path

from lib.errors import ConfigError
from rfcn import build
from rfcn.cli.run import log_to, parse_config
from rfcn.exporters.plain import SYMBOL_END, export_plain

logger = logging.getLogger(__name__)


def add_arguments(parser):
    """Of this command."""
    parser.add_argument('--params', required=True, help='the checkpoint, .params')
    parser.add_argument('--out', required=True, metavar='FILE', help='model.onnx, or PREFIX-symbol.json')


def main(argv=None):
    """Entry point."""
    cfg, args = parse_config(__doc__, argv, add_arguments)
    log_to(None, cfg.default.log_level)
    cfg = build.with_classes(cfg)
    Path(args.out).absolute().parent.mkdir(parents=True, exist_ok=True)
    if args.out.endswith(SYMBOL_END):
        logger.info('wrote %s and %s', *export_plain(cfg, args.params, args.out))
    else:
        raise ConfigError('--out %s: write a name that ends in .onnx or in %s' % (args.out, SYMBOL_END))
