"""What the scripts share: arguments, the log file, the folder of a run."""
import logging
import platform
import sys
from pathlib import Path

import mxnet as mx
import numpy as np
import tqdm

from lib.errors import ConfigError
from rfcn import build
from rfcn.collect_env import git_revision
from rfcn.config.config import dump, load_config, with_overrides
from lib.utils.whole_file import save_text
from rfcn.checkpoints.folder_lock import locked_folder
from rfcn.cli.script import make_parser

logger = logging.getLogger('rfcn')


class _TqdmHandler(logging.Handler):
    """Prints log lines above a progress bar instead of through it."""

    def emit(self, record):
        tqdm.tqdm.write(self.format(record), file=sys.stdout)


class _FileHandler(logging.FileHandler):
    """Says once that it cannot write, as on a full disk; the library's own prints a traceback a line."""

    failed = False

    def handleError(self, record):
        """Called within the handling of the error."""
        if not self.failed:
            print('warning: %s cannot be written: %s' % (self.baseFilename, sys.exc_info()[1]), file=sys.stderr)
        self.failed = True


def parse_config(description, argv=None, add_arguments=lambda parser: None):
    """Parse `--cfg X.yaml`, a script's own arguments, and KEY=VALUE overrides.

    Returns:
        cfg, args.
    """
    parser = make_parser(description)
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
    Raises:
        ConfigError: the folder cannot be written, or there are no class names.
    """
    folder = run_folder(cfg, args.cfg, image_set)
    _begin_log(folder, cfg.default.log_level)
    cfg = build.with_classes(with_overrides(cfg, dict(changes)))
    logger.info('command: %s', ' '.join(sys.argv))
    logger.info('revision %s, Python %s, MXNet %s, NumPy %s', git_revision(), platform.python_version(), mx.__version__,
                np.__version__)
    text = dump(cfg)
    logger.info('configuration:\n%s', text)
    save_text(str(folder / 'config.yaml'), text)
    return cfg, folder


def start_training(cfg, args):
    """`start_run` in the folder of the training images, which stays as it is if another training runs there.

    Raises:
        FolderInUse.
    """
    folder = run_folder(cfg, args.cfg, cfg.dataset.image_set)
    if folder.is_dir():
        with locked_folder(folder):
            pass
    return start_run(cfg, args, cfg.dataset.image_set)


def _begin_log(folder, level):
    try:
        folder.mkdir(parents=True, exist_ok=True)
        log_to(folder / 'log.txt', level)
    except OSError as error:
        raise ConfigError('%s: cannot be made or written (%s). Choose another output_path'
                          % (folder, error.strerror)) from error


def log_to(path, level='INFO'):
    """Log to the screen and, where a path is given, to the end of a file."""
    handlers = [_TqdmHandler()] + ([_FileHandler(str(path))] if path else [])
    logging.basicConfig(level=level, handlers=handlers, format='%(asctime)s %(name)s %(levelname)s %(message)s',
                        force=True)
    logging.getLogger('matplotlib').setLevel(logging.WARNING)
