"""Proof that a row runs: its own YAML and full-size network on a few rendered pictures, through the same scripts."""
import json
import logging
import math
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from experiments.rows import smoke_data
from experiments.rows.commands import run_scripts
from experiments.rows.cost import cost
from experiments.rows.table import GIVEN, ROOT, find_row
from lib.utils.memory import MEGABYTE, peak
from rfcn.cli.run import run_folder
from rfcn.config.config import load_config
from rfcn.launching.agent import end_with_parent
from rfcn.result import RESULT_FILE
from rfcn.train_alternate import steps_of

logger = logging.getLogger(__name__)


class Smoke(NamedTuple):
    """What a smoke test of a row found."""
    name: str
    steps: int              # training steps
    losses: str             # sum of the losses of the first and the last step
    detections: int         # on the test pictures, written as results
    seconds: float
    resident: float         # bytes at most, of the whole process
    parameters: int         # this and what follows: of the row as it is, see `Cost`
    gflop: float
    memory: float


def smoke(row, folder):
    """Train for a few steps and test, as the row says, in a folder.

    Returns:
        Smoke.
    Raises:
        AssertionError: nothing was trained or written. Whatever the scripts raise.
    """
    started = time.time()
    shutil.rmtree(str(folder), ignore_errors=True)
    cfg = load_config(row.cfg_path)
    overrides = overrides_of(cfg, folder)
    arguments = prepare(row, cfg, folder, overrides)
    run_scripts(row, overrides, arguments)
    steps, losses = training_record(folder / 'output')
    resident = MEGABYTE * peak()
    full = cost(cfg, row.kind)
    return Smoke(row.name, steps, losses, count_detections(row, overrides), time.time() - started, resident,
                 full.parameters, full.gflop, full.memory)


def overrides_of(cfg, folder):
    """KEY=VALUE: small pictures, few of them, one epoch, no GPU; anchors as much smaller as the pictures."""
    factor = min(1.0, smoke_data.SIDE / float((cfg.TEST.SCALES or cfg.SCALES)[0][0]))

    def small(scales):
        return [[max(1, int(round(side * factor))) for side in scale] for scale in scales]
    changes = {
        'output_path': folder / 'output', 'gpus': '',
        'SCALES': small(cfg.SCALES), 'TEST.SCALES': small(cfg.TEST.SCALES),
        'network.ANCHOR_SCALES': [round(scale * factor, 3) for scale in cfg.network.ANCHOR_SCALES],
        'dataset.dataset_path': folder / 'data', 'dataset.root_path': folder / 'data', 'default.frequent': 1,
        'TRAIN.CHECKPOINT_PERIOD': 1, 'TRAIN.EVAL_PERIOD': 1}
    if cfg.TRAIN.ALTERNATE.rpn1_epoch:
        changes.update({'TRAIN.ALTERNATE.%s_epoch' % step: 1 for step in steps_of(cfg)})
    else:
        changes.update({'TRAIN.end_epoch': 1, 'TEST.test_epoch': 1})
    if is_trunk(cfg.network.pretrained):
        changes['network.pretrained'] = folder / 'weights' / 'random'
    elif cfg.network.pretrained:  # another row's network
        changes['network.pretrained'] = folder / 'output' / Path(cfg.network.pretrained).relative_to(cfg.output_path)
    return ['%s=%s' % (key, json.dumps(value) if isinstance(value, list) else value) for key, value in changes.items()]


def is_trunk(prefix):
    """Whether weights are those of an ImageNet classifier, by their name."""
    return bool(re.fullmatch(r'resnet_v1_\d+', Path(prefix).name))


def prepare(row, cfg, folder, overrides):
    """Make data, weights and what else the scripts read. Returns further arguments of the row's script."""
    smoke_data.make_data(cfg, folder / 'data')
    if cfg.network.pretrained:
        (folder / 'weights').mkdir(parents=True, exist_ok=True)
        depth = int(re.match(r'resnet_v1_(\d+)_', cfg.symbol).group(1))
        smoke_data.random_weights(depth, folder / 'weights' / 'random')
    if row.starts_from:
        before = find_row(row.starts_from)
        earlier = load_config(before.cfg_path)
        run_scripts(before, overrides_of(earlier, folder), prepare(before, earlier, folder, ()))
    if row.kind == GIVEN:
        smoke_data.write_proposals(load_config(row.cfg_path, overrides), folder / 'proposals')
        return ['--proposal_folder', str(folder / 'proposals')]
    return []


def training_record(folder):
    """Steps of all logs of training, and 'first -> last' sum of the losses of the last log."""
    steps, losses = 0, []
    for path in sorted(folder.rglob('*-log.jsonl'), key=lambda path: path.stat().st_mtime):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        trained = [line for line in lines if line['type'] == 'train']
        losses = [sum(value for name, value in line.items() if name.endswith('Loss')) for line in trained]
        assert losses and all(math.isfinite(loss) for loss in losses), '%s: %s' % (path, losses)
        steps += len(trained)
    assert steps, '%s: nothing was trained' % folder
    return steps, '%.2f -> %.2f' % (losses[0], losses[-1])


def count_detections(row, overrides):
    """Detections in the files that a server or an evaluation reads."""
    cfg = load_config(row.cfg_path, overrides)
    folder = run_folder(cfg, row.cfg_path, cfg.dataset.test_image_set)
    assert (folder / RESULT_FILE).is_file(), '%s: no result' % folder
    if cfg.dataset.dataset == 'coco':
        return sum(len(json.loads(path.read_text())) for path in folder.glob('detections_*_results.json'))
    return sum(len(path.read_text().splitlines()) for path in folder.rglob('comp4_det_*.txt'))


def smoke_apart(row, folder):
    """`smoke` in a process of its own, with a log in `folder`. None where it failed."""
    folder.mkdir(parents=True, exist_ok=True)
    outcome, log = folder / 'smoke.json', folder / 'smoke.log'
    command = [sys.executable, '-m', 'experiments.rows.smoke', row.name, str(folder / 'run'), str(outcome),
               str(os.getpid())]
    with open(str(log), 'w') as file:
        status = subprocess.call(command, stdout=file, stderr=subprocess.STDOUT, cwd=str(ROOT))
    shutil.rmtree(str(folder / 'run'), ignore_errors=True)
    return Smoke(**json.loads(outcome.read_text())) if status == 0 else None


def main():
    """Name of a row, folder to work in, file for the outcome, number of the process that waits for it."""
    name, folder, outcome, parent = sys.argv[1:]
    end_with_parent(int(parent))
    Path(outcome).write_text(json.dumps(smoke(find_row(name), Path(folder))._asdict()))


if __name__ == '__main__':
    main()
