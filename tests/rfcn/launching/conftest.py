"""Runs of several processes on the tiny data set."""
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

try:
    from coverage import version_info as COVERAGE
except ImportError:     # `make test` alone counts lines
    COVERAGE = (0,)

from rfcn.launching.agent import free_port

ROOT = Path(__file__).resolve().parents[3]
# One image a worker; operators on the host that draw at random; landscapes and portraits in one step.
SETTINGS = ['TRAIN.BATCH_IMAGES=1', 'default.frequent=1', 'TRAIN.BATCH_ROIS=16', 'TRAIN.ENABLE_OHEM=false',
            'TRAIN.ASPECT_GROUPING=false', 'SCALES=[[64, 96], [48, 96]]']


class Launched:
    """A running `rfcn launch`."""

    def __init__(self, folder, options, command):
        self.output = folder / 'launch.txt'
        self.mark = 'output_path=%s' % next(word for word in command if word.startswith('output_path=')).split('=')[1]
        words = [sys.executable, '-m', 'rfcn', 'launch', '--logs', str(folder / 'logs'), *options, '--', *command]
        environment = dict(os.environ, OMP_WAIT_POLICY='passive')
        self.process = subprocess.Popen(words, cwd=str(ROOT), env=environment, stdout=self.output.open('w'),
                                        stderr=subprocess.STDOUT)

    def wait(self, seconds=120):
        """The exit status and what was printed."""
        try:
            status = self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=70)
            pytest.fail('the launcher did not end within %d seconds: %s' % (seconds, self.output.read_text()[-2000:]))
        return status, self.output.read_text()

    def wait_for_lines(self, path, lines):
        """Wait until a log has so many lines."""
        for _ in range(1200):
            if path.exists() and len(path.read_text().splitlines()) >= lines:
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        pytest.fail('no such progress: %s' % self.output.read_text()[-2000:])

    def processes(self):
        """Numbers of the running processes by the names that the launcher gave them."""
        found = {}
        for folder in Path('/proc').glob('[0-9]*'):
            try:
                words = os.fsdecode((folder / 'cmdline').read_bytes()).split('\0')
                if self.mark not in words or 'launch' in words:
                    continue
                pairs = os.fsdecode((folder / 'environ').read_bytes()).split('\0')
                told = dict(pair.split('=', 1) for pair in pairs if '=' in pair)
            except OSError:
                continue    # it has just ended
            name = {'worker': 'worker %s' % told.get('DMLC_WORKER_ID'), 'server': 'server 0'}
            found[name.get(told['DMLC_ROLE'], told['DMLC_ROLE'])] = int(folder.name)
        return found


def by_environment(workers, script, *words):
    """Run a script as scheduler, server and workers by the DMLC_ variables alone, as other launchers do."""
    base = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1', DMLC_PS_ROOT_URI='127.0.0.1',
                DMLC_PS_ROOT_PORT=str(free_port('127.0.0.1')), DMLC_NUM_WORKER=str(workers), DMLC_NUM_SERVER='1',
                DMLC_NODE_HOST='127.0.0.1')
    roles = [dict(DMLC_ROLE='scheduler'), dict(DMLC_ROLE='server')] + [
        dict(DMLC_ROLE='worker', DMLC_WORKER_ID=str(rank)) for rank in range(workers)]
    command = [sys.executable, script, *map(str, words)]
    running = [subprocess.Popen(command, env=dict(base, **role), stderr=subprocess.PIPE) for role in roles]
    try:
        ends = [process.communicate(timeout=600)[1].decode() for process in running]
    finally:
        for process in running:
            process.kill()
    assert [process.returncode for process in running] == [0] * len(running), ends


def runs(number):
    """Whether a process runs."""
    try:
        state = Path('/proc', number, 'stat').read_text().rpartition(')')[2].split()[0]
    except OSError:
        return False
    return state != 'Z'


@pytest.fixture(scope='package', autouse=True)
def lines_of_workers_count(tmp_path_factory):
    """Where lines are counted: also those of processes that end by os._exit, as workers do."""
    counted = 'COV_CORE_CONFIG' in os.environ and COVERAGE >= (7, 10)   # the first that can
    with pytest.MonkeyPatch.context() as patch:
        if counted:
            path = tmp_path_factory.mktemp('coverage') / 'coverage.ini'
            path.write_text('[run]\npatch = _exit\n')
            patch.setenv('COV_CORE_CONFIG', str(path))
        yield


@pytest.fixture
def launch(tmp_path):
    """A function (words of the command, options of rfcn launch) -> Launched."""
    def start(*command, options=('--workers', '2')):
        return Launched(tmp_path, options, command)
    return start
