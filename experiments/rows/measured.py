"""What was measured: read from the folder that a row's test wrote, from result.json or else from its log."""
import functools
import json
import logging
import re
from pathlib import Path
from typing import Dict, NamedTuple, Tuple

from experiments.rows.table import ROOT
from lib.errors import ConfigError
from rfcn.cli.run import run_folder
from rfcn.config.config import load_config
from rfcn.config.defaults import KEYS
from rfcn.result import RESULT_FILE, TEST_CONFIG

logger = logging.getLogger(__name__)

UNKNOWN = '?'
# Keys that make no other experiment: where things lie, what it runs on, where weights come from, what is written.
ASIDE = re.compile(r'output_path|gpus|seed|default\..*|network\.(POOL1|STRIDE_IN_3X3|PRETRAINED_CLASSES)'
                   r'|dataset\.(root_path|dataset_path|CLASSES|NUM_CLASSES|val_image_set|MAX_PIXELS)'
                   r'|TRAIN\.(WORKERS|RESUME|begin_epoch|KEEP_CHECKPOINTS|CHECKPOINT_PERIOD|EVAL_PERIOD)'
                   r'|TEST\.(test_epoch|QUANTIZE\..*)')


class Measured(NamedTuple):
    """The outcome of a run."""
    metrics: Dict[str, float]   # per cent
    date: str
    commit: str
    seed: str
    machine: str
    changed: Tuple[str, ...] = ()   # keys of the configuration in which the run differed from the row


def measured(row, output=None):
    """The last result of a row; None where nothing has been run, or the test set has no annotations.

    Args:
        output: the folder of outputs, in place of ./output.
    """
    cfg = load_config(row.cfg_path)
    folder = run_folder(cfg, row.cfg_path, cfg.dataset.test_image_set)
    if output:
        folder = output / folder.relative_to(ROOT / 'output')
    for name, read in ((RESULT_FILE, from_result), ('log.txt', from_log)):
        if (folder / name).is_file():
            found = read((folder / name).read_text(encoding='utf-8'))
            if found and found.metrics:
                return found._replace(changed=changed_keys(cfg, folder / TEST_CONFIG))
    return None


def changed_keys(cfg, path):
    """The keys that say something else in the configuration that a run wrote, and that its result depends on."""
    if not path.is_file():
        return ()
    try:
        ran = load_config(path)
    except ConfigError:
        return ('settings, which this version cannot read',)
    return tuple(key for key in KEYS if not ASIDE.fullmatch(key) and setting(ran, key) != setting(cfg, key))


def setting(cfg, key):
    """The value of a dotted key; of a checkpoint to start from, its name without the folder."""
    value = functools.reduce(getattr, key.split('.'), cfg)
    return Path(value).name if key == 'network.pretrained' else value


def from_result(text):
    """The `Measured` of a result.json; None where it is damaged."""
    try:
        note = json.loads(text)
        metrics = {name: 100 * value for name, value in note['metrics'].items() if value is not None}
        return Measured(metrics, note['date'], note['commit'], str(note['seed']), note['machine'])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        logger.warning('a %s is damaged and was passed over (%s)', RESULT_FILE, type(error).__name__)
        return None


def from_log(text):
    """The `Measured` of the last test in a log; None where that test did not come to an end."""
    metrics = voc_means(text) or coco_means(text)
    if not metrics:
        return None
    date = re.findall(r'^(\d{4}-\d\d-\d\d \d\d:\d\d)', text, re.MULTILINE)
    commit, seed = re.findall(r'revision ([^\s,]+)', text), re.findall(r'^seed: (\d+)', text, re.MULTILINE)
    return Measured(metrics, *[found[-1] if found else UNKNOWN for found in (date, commit, seed)], machine=UNKNOWN)


def voc_means(text):
    """From the last line 'mean' of a table 'class objects AP@0.5 AP@0.7'."""
    heads = re.findall(r'^class +objects((?: +AP@[\d.]+)+)', text, re.MULTILINE)
    rows = re.findall(r'^mean +\d+((?: +[\d.]+)+) *$', text, re.MULTILINE)
    if not heads or not rows:
        return {}
    return {'m' + name: 100 * float(value) for name, value in zip(heads[-1].split(), rows[-1].split())}


def coco_means(text):
    """From the last lines 'AP 0.276' and 'AP50 0.489'."""
    lines = re.findall(r'^(AP\w*) (\d\.\d+)$', text, re.MULTILINE)
    return {name: 100 * float(value) for name, value in lines}
