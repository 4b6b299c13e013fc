"""What is said of memory, before it is needed and where it did not suffice."""
import logging
import os
import resource
import subprocess
import sys

import numpy as np
import pytest

from lib.utils import memory
from tests.conftest import ROOT

WATCHED = 'import os, signal, sys; from lib.utils.memory import watch\nwith watch(sys.argv[1]): '


def test_the_peak_stays_when_memory_is_given_back_and_a_child_has_one_of_its_own():
    assert np.ones(2 ** 26).nbytes == 512 * memory.MEGABYTE     # given back at once
    assert memory.peak() > 512
    child = subprocess.run([sys.executable, '-S', '-c', 'from lib.utils.memory import peak; print(peak())'],
                           cwd=str(ROOT), stdout=subprocess.PIPE, check=True)
    assert 0 < float(child.stdout) < 256


def test_limits_are_those_of_machine_control_group_and_ulimit(tmp_path, monkeypatch):
    (tmp_path / 'meminfo').write_text('MemTotal:       2097152 kB\nMemFree: 1 kB\n')
    (tmp_path / 'memory.max').write_text('1073741824\n')
    monkeypatch.setattr(memory.resource, 'getrlimit', lambda kind: (512 * 2 ** 20, -1))
    found = memory.limits(str(tmp_path / 'meminfo'), [str(tmp_path / 'memory.max'), str(tmp_path / 'gone')])
    assert list(found.values()) == [2048, 1024, 512]


@pytest.mark.parametrize('text', ['max\n', '9223372036854771712\n'])    # of version 2 and version 1
def test_a_control_group_without_a_limit_is_none(tmp_path, monkeypatch, text):
    (tmp_path / 'memory.max').write_text(text)
    monkeypatch.setattr(memory.resource, 'getrlimit', lambda kind: (resource.RLIM_INFINITY,) * 2)
    assert memory.limits(str(tmp_path / 'gone'), [str(tmp_path / 'memory.max')]) == {}


def test_the_log_tells_images_sizes_and_peak_and_warns_near_the_limit(monkeypatch, caplog):
    monkeypatch.setattr(memory, 'limits', lambda: {'the machine': 1000.0, 'its cage': 500.0})
    with caplog.at_level(logging.INFO):
        memory.log_expected(7, [(300, 400), (500, 300), (10, 20)], 450.0)
    line, warning = [record.getMessage() for record in caplog.records]
    assert line == '7 images (mirror images included) in 3 different sizes, the largest 500 x 300 (height x width); ' \
                   'expected peak of memory 450 MB'
    assert warning.startswith('that is 90 % of its cage, 500 MB. What helps: smaller SCALES')
    caplog.clear()
    with caplog.at_level(logging.INFO):
        memory.log_expected(7, [(300, 400)], 0.0)
    assert [record.getMessage() for record in caplog.records] == [
        '7 images (mirror images included) of one size, 300 x 400 (height x width)']


@pytest.mark.parametrize('error, expected', [
    (MemoryError(), True), (RuntimeError('MXNetError: Failed to allocate CPU Memory'), True),
    (RuntimeError('std::bad_alloc'), True), (OSError(12, 'Cannot allocate memory'), True), (OSError(28, 'full'), False),
    (ValueError('no such layer'), False)])
def test_errors_for_want_of_memory_are_known(error, expected):
    assert memory.is_lack_of_memory(error) is expected


def test_the_systems_counter_of_ended_processes_is_read(tmp_path):
    (tmp_path / 'memory.events').write_text('low 0\noom 5\noom_kill 3\n')
    assert memory.kills([str(tmp_path / 'gone'), str(tmp_path / 'memory.events')]) == 3
    assert memory.kills([str(tmp_path / 'gone')]) == 0


@pytest.mark.parametrize('end, limited, said', [
    ('os.kill(os.getpid(), signal.SIGSEGV)', True, True),   # as MXNet ends where it gets no memory
    ('os.kill(os.getpid(), signal.SIGKILL)', False, False), ('sys.exit(3)', True, False), ('1 / 0', True, False)])
def test_a_process_that_the_system_ends_under_a_limit_leaves_a_sentence(tmp_path, end, limited, said):
    log = tmp_path / 'log.txt'
    log.write_text('first line\n')
    code = 'import resource; resource.setrlimit(resource.RLIMIT_AS, (2 ** 33, -1))\n' * limited + WATCHED + end
    found = subprocess.run([sys.executable, '-W', 'ignore', '-c', code, str(log)], cwd=str(ROOT),
                           stderr=subprocess.PIPE, env=dict(os.environ, OMP_NUM_THREADS='1'))
    assert found.returncode != 0
    for text in found.stderr.decode(), log.read_text():
        assert ('the memory did not suffice (the limit set by ulimit -v: 8192 MB). What helps: ' in text) is said
    assert log.read_text().startswith('first line\n')
