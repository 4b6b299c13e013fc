"""How many threads MXNet's operators get."""
import importlib
import os

import pytest

from rfcn import _threads


@pytest.fixture
def topology(tmp_path, monkeypatch):
    """A function (text of thread_siblings_list of processor 0, 1, ...) -> pattern of the files."""
    def write(*siblings):
        for number, text in enumerate(siblings):
            (tmp_path / ('cpu%d' % number)).write_text(text)
        monkeypatch.setattr(os, 'sched_getaffinity', lambda process: set(range(len(siblings))), raising=False)
        return str(tmp_path / 'cpu%d')
    return write


def test_hyper_threads_of_a_core_count_once(topology):
    assert _threads.cores(topology('0,2\n', '1,3\n', '0,2\n', '1,3\n')) == 2
    assert _threads.cores(topology('0\n', '1\n', '2\n')) == 3


def test_a_system_that_does_not_say_gets_no_number(topology, tmp_path, monkeypatch):
    topology('0\n')
    assert _threads.cores(str(tmp_path / 'gone%d')) is None
    monkeypatch.delattr(os, 'sched_getaffinity')
    assert _threads.cores() is None


@pytest.mark.parametrize('given, expected',
                         [({}, True), ({'OMP_NUM_THREADS': '3'}, False), ({'MXNET_OMP_MAX_THREADS': '7'}, False)])
def test_what_the_user_has_set_decides(monkeypatch, given, expected):
    for name in 'OMP_NUM_THREADS', 'MXNET_OMP_MAX_THREADS':
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(_threads.Path, 'read_text', lambda path: str(path))
    importlib.reload(_threads)
    found = os.environ.get('MXNET_OMP_MAX_THREADS')
    assert found == (str(len(os.sched_getaffinity(0))) if expected else given.get('MXNET_OMP_MAX_THREADS'))
    monkeypatch.setenv('MXNET_OMP_MAX_THREADS', '1')  # so that monkeypatch takes away what the reload has set
