"""The whole program killed, stopped and started twice: what was trained is not lost."""
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from rfcn.checkpoints.checkpoint import load_params, params_path
from rfcn.checkpoints.resume import interrupted_path, newest
from tests.conftest import ROOT

EPOCHS = 6
KILLS = 50
# Imports once, then trains in a forked child a line of its input: a start of MXNet costs seconds.
NURSERY = '''
import os, signal, sys
signal.signal(signal.SIGHUP, signal.SIG_DFL)    # also where the tests run under nohup
from rfcn import train_end2end
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        train_end2end.main(line.split())
        os._exit(0)
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
'''


def start(code, *args):
    """A Python process that finds the project."""
    return subprocess.Popen([sys.executable, '-c', code, *args], cwd=str(ROOT), stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, bufsize=1)


@pytest.fixture
def arguments(tiny_yaml, tmp_path):
    """A function (name of the output folder) -> arguments of the training script."""
    yaml = tiny_yaml()
    return lambda name: ['--cfg', yaml, 'output_path=%s' % (tmp_path / name), 'TRAIN.end_epoch=%d' % EPOCHS,
                         'TRAIN.RESUME=auto', 'TRAIN.lr_step=[4]', 'TRAIN.warmup=true', 'TRAIN.warmup_step=2']


@pytest.fixture
def nursery():
    process = start(NURSERY)
    yield process
    process.kill()
    process.wait()


def train(nursery, arguments, wait=None, number=signal.SIGKILL):
    """Train in a child; when `wait()` returns, signal it. Returns its status as os.waitpid gives it, and its output."""
    nursery.stdin.write(' '.join(arguments) + '\n')
    child = int(next(line for line in iter(nursery.stdout.readline, '') if line.strip().isdigit()))
    if wait is not None:
        wait()
        try:
            os.kill(child, number)
        except ProcessLookupError:
            pass  # it had finished
    lines = []
    for line in iter(nursery.stdout.readline, ''):
        lines.append(line)
        if line.strip().isdigit():
            return int(line), ''.join(lines)
    raise AssertionError('the nursery died')


def prefix(tmp_path, name):
    return str(tmp_path / name / 'tiny' / 'train' / 'tiny')


def assert_same_parameters(one, other):
    ours, theirs = load_params(params_path(one, EPOCHS)), load_params(params_path(other, EPOCHS))
    for params, others in zip(ours, theirs):
        assert set(params) == set(others)
        assert [name for name in params if not np.array_equal(params[name].asnumpy(), others[name].asnumpy())] == []


def kill_again_and_again(nursery, arguments, tmp_path, kills):
    """Train to the end through `kills` kills, and once without; compare."""
    begun = time.time()
    assert train(nursery, arguments('whole'))[0] == 0
    whole = time.time() - begun
    draw = random.Random(0)
    for _ in range(kills):
        # Each kill falls within what one further epoch takes, or a bit later, so that all moments have their turn.
        train(nursery, arguments('killed'), lambda: time.sleep(draw.uniform(0.1, 1.5 * whole / EPOCHS + 0.5)))
        epochs = list(Path(prefix(tmp_path, 'killed')).parent.glob('*.params'))
        assert not epochs or newest(prefix(tmp_path, 'killed')) is not None
    assert train(nursery, arguments('killed'))[0] == 0
    assert_same_parameters(prefix(tmp_path, 'killed'), prefix(tmp_path, 'whole'))


def test_a_run_killed_a_few_times_ends_with_the_same_parameters(nursery, arguments, tmp_path):
    kill_again_and_again(nursery, arguments, tmp_path, 4)


@pytest.mark.slow
def test_a_run_killed_at_fifty_random_moments_ends_with_the_same_parameters(nursery, arguments, tmp_path):
    kill_again_and_again(nursery, arguments, tmp_path, KILLS)


def wait_for_lines(path, count):
    """Wait until a log has that many lines."""
    for _ in range(3000):
        if path.exists() and path.read_text().count('\n') >= count:
            return
        time.sleep(0.01)
    raise AssertionError('%s has not %d lines after 30 seconds' % (path, count))


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stopped_run_says_so_and_goes_on_within_the_epoch(nursery, arguments, tmp_path, number):
    # 6 batches an epoch, a line each
    changes = ['TRAIN.BATCH_IMAGES=1', 'default.frequent=1', 'TRAIN.end_epoch=%d' % EPOCHS]
    assert train(nursery, arguments('whole') + changes)[0] == 0
    log = Path(prefix(tmp_path, 'stopped') + '-log.jsonl')
    for lines in (2, 9):
        status, output = train(nursery, arguments('stopped') + changes, lambda: wait_for_lines(log, lines), number)
        assert os.WEXITSTATUS(status) == 128 + number, output
        assert 'TRAIN.RESUME=auto goes on from here' in output
    assert train(nursery, arguments('stopped') + changes)[0] == 0
    assert not os.path.exists(interrupted_path(prefix(tmp_path, 'stopped')))
    assert_same_parameters(prefix(tmp_path, 'stopped'), prefix(tmp_path, 'whole'))
