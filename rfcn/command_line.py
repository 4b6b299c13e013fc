"""What the scripts share: arguments, the log file, the folder of a run."""
import argparse
import logging
import platform
import sys
from pathlib import Path

import mxnet as mx
import numpy as np
import tqdm

from rfcn import build
from rfcn.collect_env import git_revision
from rfcn.config.config import dump, load_config, with_overrides

logger = logging.getLogger('rfcn')


class _TqdmHandler(logging.Handler):
    """Prints log lines above a progress bar instead of through it."""

    def emit(self, record):
        tqdm.tqdm.write(self.format(record), file=sys.stdout)


def parse_config(description, argv=None, add_arguments=lambda parser: None):
    """Parse `--cfg X.yaml`, a script's own arguments, and KEY=VALUE overrides.

    Returns:
        cfg, args.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('--cfg', required=True, help='the experiment, a YAML file')
    add_arguments(parser)
    parser.add_argument('overrides', nargs='*', metavar='KEY=VALUE', help='such as TRAIN.lr=0.001 or gpus=0')
    args = parser.parse_intermixed_args(argv)
    return load_config(args.cfg, args.overrides), args


def run_folder(cfg, cfg_path, image_set):
    """Where a run writes: `output_path/<name of the YAML>/<image set>`, as in the release."""
    return Path(cfg.output_path) / Path(cfg_path).stem / image_set


def start_run(cfg, args, image_set, changes=()):
    """Make the run's folder, start its log and write the configuration beside it.

    Args:
        changes: dict of configuration keys that an argument of the script sets.
    Returns:
        cfg with the class names filled in, the folder.
    """
    folder = run_folder(cfg, args.cfg, image_set)
    folder.mkdir(parents=True, exist_ok=True)
    log_to(folder / 'log.txt', cfg.default.log_level)
    cfg = build.with_classes(with_overrides(cfg, dict(changes)))
    logger.info('command: %s', ' '.join(sys.argv))
    logger.info('revision %s, Python %s, MXNet %s, NumPy %s', git_revision(), platform.python_version(), mx.__version__,
                np.__version__)
    text = dump(cfg)
    logger.info('configuration:\n%s', text)
    (folder / 'config.yaml').write_text(text)
    return cfg, folder


def log_to(path, level='INFO'):
    """Log to the screen and, where a path is given, to the end of a file."""
    handlers = [_TqdmHandler()] + ([logging.FileHandler(str(path))] if path else [])
    logging.basicConfig(level=level, handlers=handlers, format='%(asctime)s %(name)s %(levelname)s %(message)s', force=True)
    logging.getLogger('matplotlib').setLevel(logging.WARNING)
