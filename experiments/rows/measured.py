"""What was measured: read from the folder that a row's test wrote, from result.json or else from its log."""
import json
import re
from typing import Dict, NamedTuple

from experiments.rows.table import ROOT
from rfcn.command_line import run_folder
from rfcn.config.config import load_config
from rfcn.result import FILE

UNKNOWN = '?'


class Measured(NamedTuple):
    """The outcome of a run."""
    metrics: Dict[str, float]   # per cent
    date: str
    commit: str
    seed: str
    machine: str


def measured(row, output=None):
    """The last result of a row; None where nothing has been run, or the test set has no annotations.

    Args:
        output: the folder of outputs, in place of ./output.
    """
    cfg = load_config(row.cfg_path)
    folder = run_folder(cfg, row.cfg_path, cfg.dataset.test_image_set)
    if output:
        folder = output / folder.relative_to(ROOT / 'output')
    for name, read in ((FILE, from_result), ('log.txt', from_log)):
        if (folder / name).is_file():
            found = read((folder / name).read_text(encoding='utf-8'))
            if found and found.metrics:
                return found
    return None


def from_result(text):
    """Of a result.json."""
    note = json.loads(text)
    metrics = {name: 100 * value for name, value in note['metrics'].items() if value is not None}
    return Measured(metrics, note['date'], note['commit'], str(note['seed']), note['machine'])


def from_log(text):
    """Of the log of a test, the last one in it; None where it did not come to an end."""
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
