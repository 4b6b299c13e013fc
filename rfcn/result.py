"""The note beside the results of a test: how good they are, where they come from. experiments/reproduce.py reads it."""
import datetime
import json
import logging
import os

from lib.utils.whole_file import save_text
from rfcn.collect_env import git_revision, machine

RESULT_FILE = 'result.json'
logger = logging.getLogger(__name__)


def write_result(cfg, folder, params, evaluation):
    """Write result.json into the folder of a test, and say what to do with results that only a server can evaluate.

    Args:
        params: path of the checkpoint that was tested.
    """
    if not evaluation.metrics:
        logger.info('the images have no annotations; for their test server: python experiments/submission.py '
                    '--results %s --out ARCHIVE', folder)
    metrics = {name: value if value == value else None for name, value in evaluation.metrics.items()}  # JSON has no NaN
    note = dict(metrics=metrics, image_set=cfg.dataset.test_image_set, params=str(params), seed=cfg.seed,
                date=datetime.datetime.now().isoformat(timespec='seconds'), commit=git_revision(),
                machine=machine(cfg.gpus))
    save_text(os.path.join(str(folder), RESULT_FILE), json.dumps(note, indent=1) + '\n')
