"""The agent of a host: its log files, and the processes that it starts and ends."""
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rfcn.launching import agent, launch
from rfcn.launching.agent import open_log
from tests.rfcn.launching.conftest import runs


def test_a_log_is_added_to_in_a_folder_that_is_made_behind_a_link_too(tmp_path):
    (tmp_path / 'logs').symlink_to(tmp_path / 'disk' / 'logs')
    for text in b'first\n', b'second\n':
        with open_log(str(tmp_path / 'logs' / 'worker-0.log')) as file:
            file.write(text)
    assert (tmp_path / 'disk' / 'logs' / 'worker-0.log').read_bytes() == b'first\nsecond\n'
    assert (tmp_path / 'logs').is_symlink()


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path):
    (tmp_path / 'logs').touch()
    with pytest.raises(NotADirectoryError, match='a folder is expected .*logs'):
        open_log(str(tmp_path / 'logs' / 'worker-0.log'))


def test_a_pipe_in_the_place_of_a_log_is_not_waited_for(tmp_path):
    os.mkfifo(str(tmp_path / 'worker-0.log'))
    with pytest.raises(OSError, match='a regular file is expected .*worker-0.log'):
        open_log(str(tmp_path / 'worker-0.log'))


def started(running, count, deadline=10):
    """Numbers of the `count` children of an agent, once their programs sleep, and have read their libraries."""
    children = Path('/proc/%d/task/%d/children' % (running.pid, running.pid))
    until = time.monotonic() + deadline

    def begun():
        return [number for number in children.read_text().split()
                if '(sleep) S ' in Path('/proc', number, 'stat').read_text()]
    while len(begun()) < count and time.monotonic() < until:
        time.sleep(0.02)
    return begun()


def tell(running, **message):
    """Tell an agent what its launcher would."""
    connection = launch.Connection.__new__(launch.Connection)
    connection.process = running
    connection.tell(**message)


def order(running, tmp_path, name, command=('sleep', '60'), folder='.', **more):
    """Have an agent start a process in a folder below tmp_path, by default one that waits."""
    tell(running, start=dict(name=name, command=command, folder=str(tmp_path / folder), variables={},
                             log=str(tmp_path / 'log'), **more))


def ended(number, deadline=5):
    """Whether a process ends soon."""
    until = time.monotonic() + deadline
    while runs(number) and time.monotonic() < until:
        time.sleep(0.02)
    return not runs(number)


@pytest.fixture
def running_agent():
    """A function (words of Python) -> an agent."""
    processes = []

    def run(*words):
        processes.append(subprocess.Popen([sys.executable, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        return processes[-1]
    yield run
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
def running(running_agent):
    """An agent."""
    return running_agent(agent.__file__)


def test_processes_of_an_agent_that_is_killed_end(running, tmp_path):
    order(running, tmp_path, 'worker 0')
    number, = started(running, 1)
    running.kill()
    assert ended(number)


def test_workers_are_pinned_to_cores_of_their_own_as_the_system_sees_it(running, tmp_path):
    cores = sorted(os.sched_getaffinity(0))
    if agent.share_of_cores(0, 2)[0] is None:
        pytest.skip('needs two cores')
    for rank in range(2):
        order(running, tmp_path, 'worker %d' % rank, share=[rank, 2])
    order(running, tmp_path, 'server 0')
    numbers = started(running, 3)
    seen = [sorted(os.sched_getaffinity(int(number))) for number in numbers]
    assert sorted(seen[0] + seen[1]) == cores == seen[2]


def test_an_agent_that_hears_no_more_of_its_launcher_asks_its_processes_to_stop_and_ends(running, tmp_path):
    program = 'trap "touch asked; exit" TERM; touch begun; while :; do sleep 0.01; done'
    order(running, tmp_path, 'worker 0', ['sh', '-c', program], stoppable=True)
    until = time.monotonic() + 10
    while not (tmp_path / 'begun').exists() and time.monotonic() < until:
        time.sleep(0.02)
    running.stdin.close()
    assert running.wait(timeout=10) == 0 and (tmp_path / 'asked').exists()


def test_only_workers_can_be_asked_to_stop(running, tmp_path):
    order(running, tmp_path, 'server 0')
    server, = started(running, 1)
    order(running, tmp_path, 'worker 0', stoppable=True)
    worker, = set(started(running, 2)) - {server}
    for number in server, worker:
        os.kill(int(number), signal.SIGTERM)
    assert ended(worker) and runs(server)


def test_a_worker_that_is_asked_to_stop_before_its_command_has_begun_ends(running_agent, tmp_path):
    slow = tmp_path / 'python'      # in the place of a Python that has not got to `become` yet
    slow.write_text('#!/bin/sh\nexec sleep 60\n')
    slow.chmod(0o755)
    running = running_agent('-c', 'import runpy, sys\nsys.executable = %r\nrunpy.run_path(%r, run_name="__main__")'
                            % (str(slow), agent.__file__))
    order(running, tmp_path, 'worker 0', stoppable=True)
    number, = started(running, 1)
    tell(running, stop=['worker 0'], signal=int(signal.SIGTERM))
    try:
        assert ended(number)
    finally:
        if runs(number):
            os.kill(int(number), signal.SIGKILL)


def test_a_command_inherits_no_pipe_of_the_agent_and_no_signal_that_python_ignores(running, tmp_path):
    order(running, tmp_path, 'worker 0', stoppable=True)
    number, = started(running, 1)
    assert sorted(os.listdir('/proc/%s/fd' % number)) == ['0', '1', '2']
    ignored = next(line for line in Path('/proc', number, 'status').read_text().splitlines()
                   if line.startswith('SigIgn'))
    told = agent.STOPS + agent.PYTHON_IGNORES       # others may be ignored by what runs the tests, such as a shell
    assert [signal.Signals(each).name for each in told if int(ignored.split()[1], 16) >> (each - 1) & 1] == []


@pytest.mark.parametrize('command, folder, reason', [
    (['no-such-command'], '.', 'no-such-command: No such file or directory'),
    (['./text'], '.', './text: Permission denied'),
    (['sleep', '1'], 'no such folder', 'no such folder: No such file or directory')])
def test_why_a_command_cannot_be_started_is_told(running, tmp_path, command, folder, reason):
    (tmp_path / 'text').touch()
    order(running, tmp_path, 'worker 0', command, folder)
    for line in running.stdout:
        message = json.loads(line[len(agent.MARK):])
        if message:
            break
    assert message['ended'] == 'worker 0' and message['status'] == 127
    assert message['reason'].startswith('cannot be started (') and message['reason'].endswith(reason + ')')
