"""Work in threads."""
import subprocess
import sys
import threading
import time

import pytest

from rfcn.core import pipeline
from rfcn.core.pipeline import in_threads
from tests.conftest import ROOT


@pytest.mark.parametrize('workers, ahead', [(1, 1), (3, 1), (3, 6), (2, 100)])
def test_results_come_in_the_order_of_the_jobs(workers, ahead):
    def square(x):
        time.sleep(0.01 * (x % 3))
        return x * x
    assert list(in_threads(square, ((x,) for x in range(20)), workers, ahead)) == [x * x for x in range(20)]


@pytest.mark.parametrize('ahead', [1, 4])
def test_as_many_jobs_as_asked_for_are_given_out_before_a_result_is_waited_for(ahead):
    taken = []
    results = in_threads(abs, ((taken.append(x) or x,) for x in range(9)), ahead=ahead)
    assert [next(results), len(taken)] == [0, ahead + 1] and [next(results), len(taken)] == [1, ahead + 2]


def workers():
    """Those that are there, once all of them wait for work."""
    def found():
        return {thread for thread in threading.enumerate() if isinstance(thread, pipeline._Worker)}
    end = time.monotonic() + 30
    while found() != set(pipeline._idle):
        assert time.monotonic() < end
        time.sleep(0.01)
    return found()


def test_threads_are_used_again_when_the_jobs_are_done_and_when_the_caller_gives_up():
    # MXNet keeps a kilobyte of each thread that ever used it: new ones for each image would add up.
    assert list(in_threads(abs, [(-1,)] * 9, workers=3)) == [1] * 9
    before = workers()
    assert len(before) >= 3
    results = in_threads(abs, [(-1,)] * 9, workers=3)
    next(results)
    results.close()
    assert workers() == before
    assert list(in_threads(abs, [(-1,)] * 9, workers=3)) == [1] * 9
    assert workers() == before


def test_a_forked_process_has_threads_of_its_own():
    code = ('import os, time\n'
            'from rfcn.core.pipeline import _idle, in_threads\n'
            'assert list(in_threads(abs, [(-1,), (-2,)])) == [1, 2]\n'
            'while not _idle:\n'
            '    time.sleep(0.01)\n'
            'child = os.fork()\n'
            'if not child:\n'
            '    os._exit(7 if list(in_threads(abs, [(-3,), (-4,)])) == [3, 4] else 1)\n'
            'assert os.waitpid(child, 0)[1] == 7 << 8\n')
    subprocess.run([sys.executable, '-c', code], cwd=str(ROOT), timeout=60, check=True)


@pytest.mark.parametrize('error', [ValueError, TimeoutError, KeyboardInterrupt])
def test_what_fails_in_a_thread_is_raised_at_its_turn(error):
    def fail_at_2(x):
        if x == 2:
            raise error('two')
        return x
    results = in_threads(fail_at_2, [(0,), (1,), (2,), (3,)], ahead=3)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(error, match='two'):
        next(results)


def test_a_long_wait_is_told_once_with_the_job_that_is_waited_for(monkeypatch):
    monkeypatch.setattr('rfcn.core.pipeline.SLOW', 0.05)
    late = []
    list(in_threads(lambda x: time.sleep(0.2 * (x == 1)), [(0,), (1,), (2,)], on_wait=late.append))
    assert late == [1]


def test_a_thread_that_hangs_does_not_keep_the_process_from_ending():
    code = ('import time\n'
            'from rfcn.core import pipeline\n'
            'pipeline.PATIENCE = 0.1\n'
            'next(pipeline.in_threads(lambda x: time.sleep(100 * x), [(0,), (1,)]))\n'
            'raise SystemExit(7)\n')
    assert subprocess.run([sys.executable, '-c', code], cwd=str(ROOT), timeout=30).returncode == 7


@pytest.mark.parametrize('seconds', [0, 0.3])
def test_a_process_ends_after_what_its_threads_held_has_ended(seconds):
    # A network that is freed in a thread while Python ends takes the process with it (SIGABRT).
    code = ('import time\n'
            'from rfcn.core.pipeline import in_threads\n'
            'class Network:\n'
            '    def see(self, seconds): time.sleep(seconds)\n'
            '    def __del__(self):\n'
            '        time.sleep(0.3)\n'
            '        print("freed", flush=True)\n'
            'def main():\n'
            '    results = in_threads(Network().see, [(0,), (0,), (%r,)], ahead=2)\n'
            '    next(results)\n'
            '    time.sleep(0.1)\n'
            '    raise SystemExit(7)\n'
            'main()\n' % seconds)
    ended = subprocess.run([sys.executable, '-c', code], cwd=str(ROOT), timeout=60, stdout=subprocess.PIPE, text=True)
    assert (ended.returncode, ended.stdout) == (7, 'freed\n')
