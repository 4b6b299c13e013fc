"""What a test leaves in its folder: detections, the metrics with what they come from, and the settings.

    voc_test_detections.pkl    the detections, in the release's layout
    result.json                metrics, checkpoint, seed, commit, machine; experiments/reproduce.py reads it
    test_config.yaml           the settings; config.yaml is that of a training
"""
import datetime
import json
import logging
import os
import shlex
from pathlib import Path

from lib.errors import DatasetError, UserError
from lib.utils.limits import is_there
from lib.utils.safe_load import load_pickle
from lib.utils.whole_file import whole_files
from rfcn.collect_env import git_revision, machine
from rfcn.config.config import dump, load_config

RESULT_FILE, TEST_CONFIG = 'result.json', 'test_config.yaml'

logger = logging.getLogger(__name__)


def detections_path(folder, imdb):
    """The file of the detections on a data set."""
    return Path(folder) / (imdb.name + '_detections.pkl')


def read_detections(path):
    """Detections that a test saved; a UserError says what is expected where the file holds something else."""
    try:
        return load_pickle(path)
    except DatasetError as error:
        raise UserError('%s. Expected are the detections that rfcn test saves, NAME_detections.pkl' % error) from None


def write_result(cfg, folder, params, evaluation):
    """Write result.json and the settings that it comes from into the folder of a test, and say what to do with results
    that only a server can evaluate.

    Args:
        params: path of the checkpoint that was tested.
    """
    if not evaluation.metrics:
        logger.info('the images have no annotations; for their test server: python experiments/submission.py '
                    '--results %s --out ARCHIVE', shlex.quote(str(folder)))
    metrics = {name: value if value == value else None for name, value in evaluation.metrics.items()}  # JSON has no NaN
    note = dict(metrics=metrics, image_set=cfg.dataset.test_image_set, params=str(params), seed=cfg.seed,
                date=datetime.datetime.now().isoformat(timespec='seconds'), commit=git_revision(),
                machine=machine(cfg.gpus))
    texts = dump(cfg), json.dumps(note, indent=1) + '\n'
    paths = [os.path.join(str(folder), name) for name in (TEST_CONFIG, RESULT_FILE)]
    with whole_files(paths, last_tells=True) as temporaries:
        for path, text in zip(temporaries, texts):
            Path(path).write_text(text, encoding='utf-8')


def read_test(folder):
    """The checkpoint and the settings that the test in a folder noted; None where it left no note, or a damaged one."""
    note, settings = Path(folder, RESULT_FILE), Path(folder, TEST_CONFIG)
    try:
        if is_there(note) and is_there(settings):
            return str(json.loads(note.read_text(encoding='utf-8'))['params']), load_config(settings)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        logger.warning('%s or %s is damaged (%s): the report does not name the checkpoint, and takes the classes in '
                       'the order of the data', note, settings.name, type(error).__name__)
    return None
