"""What the commands share: arguments, the log file, the folder of a run."""
import contextlib
import logging
import os
import platform
import re
import shlex
import sys
from pathlib import Path

import mxnet as mx
import numpy as np
import tqdm

from lib.dataset.files import inside
from lib.errors import ConfigError
from lib.utils.console import discard, shown, shown_text
from lib.utils.folders import locked_folder, make_folder
from lib.utils.limits import is_there
from lib.utils.memory import watch
from rfcn import data_sets
from rfcn.checkpoints.checkpoint import FINAL_EPOCH, check_is_there, params_path
from rfcn.checkpoints.identity import CONFIG
from rfcn.cli.script import make_parser, to_log_files
from rfcn.collect_env import git_revision
from rfcn.config.config import dump, load_config
from rfcn.core.schedule import last_epoch
from rfcn.core.workers import workers
from rfcn.result import RESULT_FILE, TEST_CONFIG

logger = logging.getLogger('rfcn')

LOG = 'log.txt'     # the name of a run's log
OF_THRESH = 'thresh_'       # and a score: the folder of a test with another lowest score, in that of the tests
OWN = (LOG, CONFIG, TEST_CONFIG, RESULT_FILE)       # what has the same name in each run's folder


class _ScreenHandler(logging.Handler):
    """Prints log lines above a progress bar instead of through it.

    If the screen is lost (its reader has ended, as `head` does, or the disk that it was sent to is full), the run goes
    on without it: stderr says so, and where the log is.
    """

    gone = False

    def __init__(self, stream='stdout'):
        super().__init__()
        self.stream = stream

    def emit(self, record):
        if self.gone:
            return
        try:
            stream = getattr(sys, self.stream)
            tqdm.tqdm.write(self.format(record), file=stream)
            stream.flush()
        except OSError as error:
            self.gone = True
            discard(stream.fileno())
            files = [handler.baseFilename for handler in logging.getLogger().handlers
                     if isinstance(handler, logging.FileHandler)]
            with contextlib.suppress(OSError):
                print('note: %s %s; the run goes on, %s'
                      % ({'stdout': 'standard output'}.get(self.stream, self.stream),
                         'was closed by its reader' if isinstance(error, BrokenPipeError)
                         else 'cannot be written (%s)' % error.strerror,
                         'its log is ' + shown(files[0]) if files else 'and is not logged'), file=sys.stderr)


class _FileHandler(logging.FileHandler):
    """Says once that it cannot write, as on a full disk; the library's own prints a traceback for every line."""

    failed = False

    def handleError(self, record):
        """Called within the handling of the error."""
        if not self.failed:
            print('warning: %s cannot be written: %s' % (self.baseFilename, sys.exc_info()[1]), file=sys.stderr)
        self.failed = True


class _Formatter(logging.Formatter):
    """Shows what is not printable, such as what a file's name may hold, as escapes; so no name begins a line that looks
    like another record.
    """

    def format(self, record):
        return re.sub(r'\n(?=\d{4}-\d\d-\d\d )', r'\\n', shown_text(super().format(record)))


def parse_config(description, argv=None, add_arguments=lambda parser: None):
    """Parse `--cfg X.yaml`, a script's own arguments, and KEY=VALUE overrides.

    Returns:
        cfg, args.
    """
    parser = make_parser(description)
    parser.add_argument('--cfg', required=True, help='the experiment, a YAML file')
    add_arguments(parser)
    parser.add_argument('overrides', nargs='*', metavar='KEY=VALUE',
                        help='such as TRAIN.lr=0.001 or gpus=0; rfcn/config/defaults.py explains every key')
    args = parser.parse_intermixed_args(argv)
    return load_config(args.cfg, args.overrides), args


def add_params(parser):
    """The argument --params, for scripts that by default take the checkpoint of the training."""
    parser.add_argument('--params', help='checkpoint; by default the one of TEST.test_epoch of the training run')


def run_folder(cfg, cfg_path, image_set):
    """Where a run writes: `output_path/<name of the experiment>/<image set>`, as in the release.

    Raises a DatasetError where the name of the set would lead out of the folder before it.
    """
    folder = Path(cfg.output_path) / experiment_name(cfg_path)
    if image_set:
        inside(folder, image_set)
    return folder / image_set


def folder_of_test(cfg, cfg_path, thresh=None):
    """Where a test writes: the run's folder, or one below it for results with another lowest score (`--thresh`).

    The settings that a test wrote there stand for that test.
    """
    folder, beside = run_folder(cfg, cfg_path, cfg.dataset.test_image_set), Path(os.path.abspath(cfg_path)).parent
    if thresh is not None:      # another result than the experiment's, which stays
        return folder / (OF_THRESH + '%g' % thresh)
    return beside if str(beside.parent) == os.path.abspath(folder) and beside.name.startswith(OF_THRESH) else folder


def experiment_name(cfg_path):
    """The name of the YAML file. A file that a run wrote beside its log stands for the YAML of that run: else all
    trainings would be the experiment `config`, and replace each other's results.
    """
    path = Path(os.path.abspath(cfg_path))
    if path.name in (CONFIG, TEST_CONFIG) and is_there(path.with_name(LOG)):
        written = load_config(path).dataset     # without overrides: they may name another image set
        folders = Path(written.image_set if path.name == CONFIG else written.test_image_set).parts
        folder = path.parent.parent if path.parent.name.startswith(OF_THRESH) else path.parent
        name, *last = folder.parts[-len(folders) - 1:]
        if tuple(last) == folders:
            return name
    return path.stem


def last_checkpoint(cfg, cfg_path):
    """The checkpoint that a training with this configuration wrote: that of `TEST.test_epoch`, or else its last one, or
    else the network that alternating training joined.

    Raises a FileNotFoundError that says what to do where there is none.
    """
    prefix = run_folder(cfg, cfg_path, cfg.dataset.image_set) / cfg.TRAIN.model_prefix
    last, joined = (params_path(str(prefix), epoch)
                    for epoch in (cfg.TEST.test_epoch or last_epoch(cfg.TRAIN.end_epoch), FINAL_EPOCH))
    if not cfg.TEST.test_epoch and not is_there(last) and is_there(joined):
        return joined
    beside = Path(cfg_path).with_name(Path(last).name)      # where the file is the config.yaml of a run
    check_is_there(last, 'name the one beside the configuration: --params %s' % shlex.quote(str(beside))
                   if is_there(beside) else 'train first, or name one with --params')
    return last


@contextlib.contextmanager
def start_run(cfg, folder, params=None):
    """Hold a run's folder and start its log, which gets the configuration; to the end of a `with` block.

    Of several workers the first one alone writes there; the others log to the screen.

        with start_run(cfg, folder) as cfg:     # with the class names filled in
            ...

    Args:
        params: path of the checkpoint that is used, which may know its class names.
    Raises:
        FolderInUse: another run is at work there; nothing has been written.
        ConfigError: the folder cannot be written, or there are no class names.
    """
    first = workers().first
    with contextlib.ExitStack() as held:
        try:
            if first:
                make_folder(folder)
                held.enter_context(locked_folder(folder))
                for path in Path(folder).iterdir():     # a FIFO in the place of any file would be waited for
                    if path.name in OWN or not path.is_dir():
                        is_there(path)
            log_to(folder / LOG if first else None, cfg.default.log_level)
        except OSError as error:
            raise ConfigError('%s: cannot be made or written (%s). Choose another output_path'
                              % (error.filename or folder, error.strerror)) from error
        cfg = data_sets.with_classes(cfg, params)
        held.enter_context(watch(folder / LOG if first else None))
        logger.info('command: %s', ' '.join(sys.argv))
        logger.info('revision %s, Python %s, MXNet %s, NumPy %s', git_revision(), platform.python_version(),
                    mx.__version__, np.__version__)
        to_log_files('configuration:\n' + dump(cfg))
        logger.info('configuration: in %s', folder / LOG)
        yield cfg


@contextlib.contextmanager
def start_training(cfg, args):
    """`start_run` in the folder of the training images; gives the configuration and the folder."""
    folder = run_folder(cfg, args.cfg, cfg.dataset.image_set)
    with start_run(cfg, folder) as cfg:
        yield cfg, folder


def log_to(path, level='INFO', stream='stdout'):
    """Log to the screen and, where a path is given, to the end of a file.

    Args:
        stream: 'stderr' where the standard output takes results.
    """
    handlers = [_ScreenHandler(stream)] + ([_FileHandler(str(path), encoding='utf-8')] if path else [])
    for handler in handlers:
        handler.setFormatter(_Formatter('%(asctime)s %(name)s %(levelname)s %(message)s'))
    logging.basicConfig(level=level, handlers=handlers, force=True)
    logging.getLogger('matplotlib').setLevel(logging.WARNING)
