"""What goes wrong with hosts, shells and processes: one sentence, within a bounded time, and nothing stays behind.

Processes and remote shells are small scripts here; test_launch.py has the same with real trainings.
"""
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from lib.errors import ConfigError
from rfcn.launching import agent, launch
from rfcn.launching.launch import LaunchFailed
from tests.rfcn.launching.conftest import runs


@pytest.fixture
def script(tmp_path):
    """A function (name, lines of a shell script) -> its path."""
    def write(name, text):
        path = tmp_path / name
        path.write_text('#!/bin/sh\n%s\n' % text)
        path.chmod(0o755)
        return str(path)
    return write


@pytest.fixture
def run(tmp_path, script, monkeypatch):
    """A function (what a process does, a shell script; remote shell) -> the launch's last sentence, or its status.

    The script's own number is written to the folder `numbers` first, and may be there no more in the end.
    """
    for module, name, seconds in ((launch, 'FAULT_GRACE', 1.0), (launch, 'HELPER_GRACE', 0.3),
                                  (launch, 'KILL_GRACE', 2.0), (agent, 'SILENCE', 4.0)):
        monkeypatch.setattr(module, name, seconds)
    numbers = tmp_path / 'numbers'
    numbers.mkdir()

    def start(does='exec sleep 60', shell='shift; exec "$@"'):
        python = script('python', 'if [ "$1" != -m ]; then exec %s "$@"; fi\necho > %s/$$\n%s' % (
            sys.executable, numbers, does))
        (tmp_path / 'hosts').write_text('b address=127.0.0.1 slots=2 python=%s' % python)
        rsh = script('rsh', 'echo > %s/$$\n%s' % (numbers, shell))
        began = time.monotonic()
        try:
            end = launch.main(['--hosts', str(tmp_path / 'hosts'), '--rsh', rsh, '--logs', str(tmp_path / 'logs'), '--',
                               'train'])
        except LaunchFailed as error:
            end = str(error)
        assert time.monotonic() - began < 30
        assert [path.name for path in numbers.iterdir() if runs(path.name)] == []
        return end
    return start


def by_role(**does):
    """A shell script: what worker, server and scheduler do; left out, they wait."""
    cases = ''.join('%s) %s;;\n' % (role, text) for role, text in does.items())
    return 'case $DMLC_ROLE in\n%s*) exec sleep 60;; esac' % cases


def test_a_host_that_refuses_is_named(run, capfd):
    refused = 'ssh: connect to host b port 22: Connection refused'
    assert run(shell='echo "%s" >&2; exit 255' % refused).startswith('the host b does not answer')
    assert refused in capfd.readouterr().err


def test_a_host_that_refuses_is_named_where_the_first_one_does_not(tmp_path, script):
    (tmp_path / 'hosts').write_text('a address=127.0.0.1\nb address=127.0.0.1\n')
    rsh = script('rsh', '[ $1 = b ] && exit 255; exec sleep 60')
    with pytest.raises(LaunchFailed, match='^the host b does not answer'):
        launch.main(['--hosts', str(tmp_path / 'hosts'), '--rsh', rsh, '--', 'train'])


def test_what_a_login_shell_prints_is_shown_even_if_it_can_be_read_as_json(run, capfd):
    words = ['7', 'null', '{"line": 1}', '{"port": 1, "x": 2}', '{"ended": "worker 0"}']
    says = ''.join("echo '%s'; " % word for word in words)
    for shell, end in ('exit 255', 'the host b does not answer'), ('shift; exec "$@"', r'worker [01] \(b\) ended'):
        assert re.match(end, run(by_role(worker='exit 3'), says + shell))
        assert capfd.readouterr().err.splitlines()[-5:] == words


def test_a_run_whose_standard_output_cannot_be_written_goes_on(run, monkeypatch, caplog):
    with open('/dev/full', 'w') as full:
        monkeypatch.setattr(sys, 'stdout', full)
        assert run('echo a line') == 0
    assert 'standard output cannot be written (No space left on device); the run goes on' in caplog.text


def test_half_a_line_where_the_connection_ends_is_no_message(run):
    assert run(shell="printf 'rfcn agent: {'; exit 255").startswith('the host b does not answer')


def test_a_shell_that_greets_and_then_never_answers_is_killed_and_its_host_named(run):
    assert run(shell='echo welcome; exec sleep 60').startswith('the host b does not answer')


def test_an_address_that_is_not_the_host_s_own_is_told(tmp_path, script):
    (tmp_path / 'hosts').write_text('a address=192.0.2.1\n')      # of documentation, RFC 5737
    with pytest.raises(ConfigError, match='the host a cannot listen on 192.0.2.1 .Cannot assign.*address of that host'):
        launch.main(['--hosts', str(tmp_path / 'hosts'), '--rsh', script('rsh', 'shift; exec "$@"'), '--', 'train'])


def test_a_shell_that_never_answers_is_killed_and_its_host_named(run):
    assert run(shell='exec sleep 60').startswith('the host b does not answer')


@pytest.mark.parametrize('text', ["ssh -i 'my key", "''"])
def test_a_shell_without_a_command_or_with_single_quotes_is_refused(tmp_path, text):
    (tmp_path / 'hosts').write_text('b address=127.0.0.1')
    with pytest.raises(ConfigError, match='--rsh must be a command, quotes in pairs, .* found'):
        launch.main(['--hosts', str(tmp_path / 'hosts'), '--rsh=' + text, '--', 'train'])


def test_a_process_that_cannot_be_started_is_told_with_the_reason(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'taken').touch()
    with pytest.raises(LaunchFailed, match=r'^scheduler .this host. cannot be started .*taken: a folder is expected'):
        launch.main(['--workers', '1', '--logs', 'taken', '--', 'train'])


def test_a_shell_that_is_not_there_is_named(tmp_path):
    (tmp_path / 'hosts').write_text('b address=127.0.0.1')
    with pytest.raises(ConfigError, match='^/no/ssh cannot be started .No such file.*--rsh names another'):
        launch.main(['--hosts', str(tmp_path / 'hosts'), '--rsh', '/no/ssh', '--', 'train'])


def test_two_launches_within_a_second_have_logs_of_their_own(monkeypatch):
    folders = []
    monkeypatch.setattr(launch.time, 'strftime', lambda form: form)
    monkeypatch.setattr(launch.Launch, 'run', lambda self: folders.append(self.logs))
    for process in 7, 8:
        monkeypatch.setattr(launch.os, 'getpid', lambda: process)
        launch.main(['--workers', '1', '--', 'train'])
    assert len(set(folders)) == 2


@pytest.mark.skipif(not shutil.which('ssh'), reason='ssh is not installed')
def test_ssh_itself_gives_up_on_a_host_that_takes_the_connection_and_says_nothing():
    words = shlex.split(launch.SSH)
    limit, = [word for word in words if word.startswith('ConnectTimeout=')]
    assert int(limit.partition('=')[2]) < agent.SILENCE     # so that ssh tells why before the launcher gives up
    words[words.index(limit)] = 'ConnectTimeout=1'
    with socket.create_server(('127.0.0.1', 0)) as silent:
        command = words + ['-p', str(silent.getsockname()[1]), '127.0.0.1', 'true']
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=30)
    assert done.returncode == 255 and b'timed out' in done.stderr


def test_workers_that_fail_before_they_connect_end_the_others_that_wait_for_them(run):
    assert re.match(r'worker [01] \(b\) ended with status 2, see ', run(by_role(worker='exit 2')))


def test_one_worker_that_fails_before_it_connects_ends_the_others(run):
    said = run('[ "$DMLC_WORKER_ID" = 1 ] && exit 3; exec sleep 60')
    assert said.startswith('worker 1 (b) ended with status 3, see ')


def test_a_worker_that_somebody_stops_is_said_to_be_stopped(run):
    assert re.match(r'worker [01] \(b\) was stopped by SIGTERM, see ', run(by_role(worker='exit 143')))


def test_a_process_that_is_silent_is_named_where_nobody_else_can_name_it(run):
    silent = by_role(worker='exit 75', server='exit 75')    # as they end when the scheduler does not answer
    assert run(silent).startswith('scheduler (b) did not answer and had to be killed; ')


def test_what_the_scheduler_says_of_the_missing_is_the_reason(run):
    silent = by_role(scheduler='echo "error: server (host b) has not answered; all processes end"; exit 75',
                     worker='exit 75')
    assert run(silent).startswith('server (host b) has not answered; what the processes said is in ')


# what is there: the remote shell that does not answer; the shell, scheduler, server and two workers
@pytest.mark.parametrize('shell, count', [('exec sleep 60', 1), ('shift; exec "$@"', 5)])
def test_ctrl_c_before_processes_train_ends_all_at_once(run, tmp_path, shell, count):
    def interrupt():
        while len(list((tmp_path / 'numbers').iterdir())) < count:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)
    threading.Thread(target=interrupt).start()
    assert run(shell=shell) == 128 + signal.SIGINT


def test_ctrl_c_while_a_remote_shell_is_started_ends_it(run, monkeypatch):
    class Interrupted(launch.Connection):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            os.kill(os.getpid(), signal.SIGINT)
    monkeypatch.setattr(launch, 'Connection', Interrupted)
    assert run(shell='exec sleep 60') == 128 + signal.SIGINT


@pytest.fixture
def closed_terminal(monkeypatch):
    """A function (what SIGHUP does before): from now on the terminal is closed while a remote shell is started."""
    class Closed(launch.Connection):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            for _ in range(2):      # from the system and from the shell
                os.kill(os.getpid(), signal.SIGHUP)

    def patch(handler):
        signal.signal(signal.SIGHUP, handler)
        monkeypatch.setattr(launch, 'Connection', Closed)
    before = signal.getsignal(signal.SIGHUP)
    yield patch
    signal.signal(signal.SIGHUP, before)


def test_a_closed_terminal_stops_the_run_as_ctrl_c_does(run, closed_terminal):
    closed_terminal(lambda number, frame: pytest.fail('nobody took the signal'))
    assert run(shell='exec sleep 60') == 128 + signal.SIGHUP


def test_a_run_that_shall_outlive_its_terminal_does(run, closed_terminal):
    closed_terminal(signal.SIG_IGN)
    assert run('exit 0') == 0
