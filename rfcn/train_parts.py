"""Train a part of a network: the RPN alone, or R-FCN on proposals from files.

    rfcn train_rpn --cfg X.yaml [KEY=VALUE ...]                             rfcn propose makes proposals with it
    rfcn train_given --cfg X.yaml [--proposals FILE] [KEY=VALUE ...]        rfcn test_given tests it
"""
from pathlib import Path

from rfcn import data_sets, training
from rfcn.checkpoints import checkpoint
from rfcn.cli.run import parse_config, start_training
from rfcn.core.module import contexts
from rfcn.core.target_loaders import anchor_loader, roi_loader
from rfcn.propose import add_argument, proposal_paths, training_rois
from rfcn.symbols import make_symbol


def train_rpn(cfg, output_path, devices=None, is_step=False):
    """Train to `TRAIN.end_epoch`. Returns the prefix of the checkpoints; arguments as in `rfcn/train_end2end.py`.

    Args:
        is_step: see `training.train`.
    """
    devices = devices or contexts(cfg.gpus)
    symbol = make_symbol(cfg).get_symbol_rpn(is_train=True)
    loader = anchor_loader(cfg, data_sets.training_roidb(cfg), symbol, len(devices))
    prefix = str(Path(output_path) / cfg.TRAIN.model_prefix)
    training.train(cfg, symbol, loader, prefix, devices, kind=training.RPN, is_step=is_step)
    return prefix


def train_given(cfg, output_path, paths, devices=None, is_step=False):
    """The same for R-FCN without its RPN.

    Args:
        paths: of files of proposals, one for each set of `dataset.image_set`.
    """
    devices = devices or contexts(cfg.gpus)
    roidb, means, stds = training_rois(cfg, paths)
    symbol = make_symbol(cfg).get_symbol_rfcn(is_train=True)
    loader = roi_loader(cfg, roidb, len(devices))
    prefix = str(Path(output_path) / cfg.TRAIN.model_prefix)

    def unnormalised(arg_params):
        return checkpoint.unnormalised_bbox(arg_params, means, stds, cfg.network.POOLED_SIZE ** 2)
    training.train(cfg, symbol, loader, prefix, devices, kind=training.RFCN, extra_params=unnormalised,
                   is_step=is_step)
    return prefix


def main_rpn(argv=None):
    """Train the RPN alone: `rfcn train_rpn --cfg X.yaml [KEY=VALUE ...]`. rfcn propose makes proposals."""
    cfg, args = parse_config(main_rpn.__doc__, argv)
    with start_training(cfg, args) as (cfg, output_path):
        train_rpn(cfg, output_path)


def main_given(argv=None):
    """Train R-FCN on proposals from files: `rfcn train_given --cfg X.yaml [--proposals FILE] [KEY=VALUE ...]`."""
    cfg, args = parse_config(main_given.__doc__, argv, add_argument)
    with start_training(cfg, args) as (cfg, output_path):
        train_given(cfg, output_path, args.proposals or proposal_paths(cfg, args.cfg, cfg.dataset.image_set))
