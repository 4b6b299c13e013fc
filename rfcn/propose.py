"""Make proposals and measure their recall: `rfcn propose --cfg X.yaml [--image_set SET] [KEY=VALUE ...]`.

How many proposals and how far apart is said by TEST.PROPOSAL_NMS_THRESH, _PRE_NMS_TOP_N, _POST_NMS_TOP_N and _MIN_SIZE.
"""
import sys
from pathlib import Path

if __package__ in (None, ''):
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a file: the folder of rfcn and lib, not rfcn itself

import logging

from lib.utils.proposals import save_proposals
from rfcn import build
from rfcn.checkpoints import checkpoint
from rfcn.checkpoints.for_test import load_for_test
from rfcn.cli.run import parse_config, run_folder, start_run
from rfcn.cli.script import run_script
from rfcn.config.config import with_overrides
from rfcn.core.proposer import propose_all
from rfcn.proposals import log_recall, proposals_path
from rfcn.symbols import make_symbol
from rfcn.training import last_checkpoint

logger = logging.getLogger(__name__)

SETTINGS = ('NMS_THRESH', 'PRE_NMS_TOP_N', 'POST_NMS_TOP_N', 'MIN_SIZE')


def proposal_settings(cfg):
    """The configuration whose test graph makes proposals for training.

    Departure: the release never reads TEST.PROPOSAL_* and trains R-FCN on the 300 proposals an image of TEST.RPN_*.
    """
    return with_overrides(cfg, {'TEST.RPN_' + name: cfg.TEST['PROPOSAL_' + name] for name in SETTINGS})


def rpn_predictor(cfg, params):
    """The RPN for testing with the parameters of a checkpoint: of an RPN, or of a whole network.

    Raises:
        CheckpointError: the parameters do not fit the configuration.
    """
    symbol = make_symbol(cfg).get_symbol_rpn(is_train=False)
    arg_params, aux_params = load_for_test(cfg, params, classes=False, normalised=False)
    checkpoint.check_params(symbol, build.input_shapes(cfg), arg_params, aux_params, params)
    return build.predictor_of_part(cfg, symbol, build.TEST_INPUTS, arg_params, aux_params)


def make_proposals(cfg, folder, params, image_sets):
    """Write the proposals of each set of 'a+b' to a file in `folder` and print their recall.

    Args:
        params: path of a checkpoint.
    Returns:
        list of the files' paths.
    """
    cfg = proposal_settings(cfg)
    predictor = rpn_predictor(cfg, params)
    paths = []
    for imdb in build.datasets(cfg, image_sets):
        loader = build.test_loader(cfg, imdb.gt_roidb(), scale=build.proposal_scale(cfg))
        all_proposals = propose_all(predictor, loader)
        loader.log_skipped()
        paths.append(proposals_path(folder, imdb))
        save_proposals(paths[-1], imdb.image_set_index, all_proposals)
        logger.info('wrote %s', paths[-1])
        log_recall(imdb, all_proposals, cfg.TEST.RPN_POST_NMS_TOP_N)
    return paths


def add_arguments(parser):
    """Of this script."""
    parser.add_argument('--params', help='checkpoint; by default the one of TEST.test_epoch of the training run')
    parser.add_argument('--image_set', help='images to make proposals for; by default dataset.test_image_set')


def main(argv=None):
    """Entry point."""
    cfg, args = parse_config(__doc__, argv, add_arguments)
    image_set = args.image_set or cfg.dataset.test_image_set
    params = args.params or last_checkpoint(cfg, args.cfg)
    folder = run_folder(cfg, args.cfg, image_set)
    with start_run(cfg, folder, params) as cfg:
        make_proposals(cfg, folder, params, image_set)


if __name__ == '__main__':
    run_script(main)
