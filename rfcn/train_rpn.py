"""Train the RPN alone: `rfcn train_rpn --cfg X.yaml [KEY=VALUE ...]`. rfcn propose makes proposals."""
import sys
from pathlib import Path

if __package__ in (None, ''):
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a file: the folder of rfcn and lib, not rfcn itself

from rfcn import build, training
from rfcn.cli.run import parse_config, start_training
from rfcn.cli.script import run_script
from rfcn.core.module import contexts
from rfcn.symbols import make_symbol


def train_rpn(cfg, output_path, devices=None, is_step=False):
    """Train to `TRAIN.end_epoch`. Returns the prefix of the checkpoints; arguments as in `rfcn/train_end2end.py`."""
    devices = devices or contexts(cfg.gpus)
    symbol = make_symbol(cfg).get_symbol_rpn(is_train=True)
    loader = build.anchor_loader(cfg, build.training_roidb(cfg), symbol, len(devices))
    prefix = str(Path(output_path) / cfg.TRAIN.model_prefix)
    training.train(cfg, symbol, loader, prefix, devices, kind=training.RPN, is_step=is_step)
    return prefix


def main(argv=None):
    """Entry point."""
    cfg, args = parse_config(__doc__, argv)
    with start_training(cfg, args) as (cfg, output_path):
        train_rpn(cfg, output_path)


if __name__ == '__main__':
    run_script(main)
