"""Train R-FCN end to end: `rfcn train --cfg X.yaml [KEY=VALUE ...]`."""
import sys
from pathlib import Path

if __package__ in (None, ''):
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a file: the folder of rfcn and lib, not rfcn itself
    from rfcn._compat import check_packages
    check_packages()

from rfcn import data_sets, inference, training
from rfcn.cli.run import parse_config, start_training
from rfcn.cli.script import run_script
from rfcn.core.module import contexts
from rfcn.core.target_loaders import anchor_loader
from rfcn.exporters.plain import symbol_beside
from rfcn.symbols import make_symbol


def train_net(cfg, output_path, devices=None):
    """Train to `TRAIN.end_epoch`, from its start or from where `TRAIN.RESUME` says. Returns the checkpoints' prefix.

    Args:
        devices: list of mx.Context; by default those that `gpus` names.
    """
    devices = devices or contexts(cfg.gpus)
    symbol = make_symbol(cfg).get_symbol(is_train=True)
    loader = anchor_loader(cfg, data_sets.training_roidb(cfg), symbol, len(devices))
    return training.train(cfg, symbol, loader, output_path, devices, kind=training.END2END,
                          extra_params=inference.unnormalised(cfg), validate=training.validation(cfg),
                          inference_symbol=symbol_beside(cfg))


def main(argv=None):
    """Entry point."""
    cfg, args = parse_config(__doc__, argv)
    with start_training(cfg, args) as (cfg, output_path):
        train_net(cfg, output_path)


if __name__ == '__main__':
    run_script(main)
