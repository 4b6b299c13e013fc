"""Work in threads, with results in the order of the jobs: reading, network and post-processing go on side by side."""
import atexit
import collections
import os
import queue
import threading
import time
from concurrent.futures import Future, wait

import rfcn.operator_py  # noqa: F401  what it waits for at the end of the process, it waits for after `_finish`

PATIENCE = 2.0      # seconds that the end of the process waits for work that was begun
SLOW = 10.0         # seconds of waiting for a result after which `on_wait` is called

_tasks = set()       # futures of the tasks that a thread has yet to do, or to let go of
_ending = threading.Event()
_idle = collections.deque()     # workers that wait for their next queue


class _Worker(threading.Thread):
    """Does the tasks of one queue after the other, each until it is given None, and waits for the next in `_idle`.

    It never ends: MXNet keeps what it knows of a thread, a kilobyte, for as long as the process lives, and a thread for
    each image would add up. It is a daemon, so the process can end without it: a read from a disk that does not answer
    never returns. Threads of concurrent.futures would keep the process alive for ever.
    """

    def __init__(self):
        super().__init__(daemon=True)
        self.queues = queue.SimpleQueue()
        self.start()

    def run(self):
        while True:
            self._do(self.queues.get())
            _idle.append(self)

    @staticmethod
    def _do(tasks):
        for future, function, job in iter(tasks.get, None):
            if not _ending.is_set() and future.set_running_or_notify_cancel():
                try:
                    future.set_result(function(*job))
                except BaseException as error:  # raised again where the result is asked for
                    future.set_exception(error)
            del function, job   # nothing is held while it waits for the next task: a network may end with them
            _tasks.discard(future)
            del future


def _worker():
    """One that waits, or a new one."""
    try:
        return _idle.pop()
    except IndexError:
        return _Worker()


def in_threads(function, jobs, workers=1, ahead=1, on_wait=lambda *job: None):
    """Yield function(*job) of each job, in order, computed in threads.

    Jobs are taken in the caller's thread, up to `ahead` of them before the first result is asked for; what fails in a
    thread is raised here.

    Args:
        jobs: iterable of tuples.
        on_wait: called with a job whose result is `SLOW` seconds late.
    """
    tasks, pending = queue.SimpleQueue(), collections.deque()
    for _ in range(workers):
        _worker().queues.put(tasks)
    try:
        for job in jobs:
            pending.append((Future(), job))
            _tasks.add(pending[-1][0])
            tasks.put((pending[-1][0], function, job))
            if len(pending) > ahead:
                yield _result(*pending.popleft(), on_wait)
        while pending:
            yield _result(*pending.popleft(), on_wait)
    finally:
        for future, _ in pending:
            future.cancel()
        for _ in range(workers):
            tasks.put(None)


def _result(future, job, on_wait):
    if not wait([future], SLOW).done:
        on_wait(*job)
    return future.result()


def _forget_threads():
    """A forked process has none of those of its parent."""
    _tasks.clear()
    _idle.clear()


os.register_at_fork(after_in_child=_forget_threads)


@atexit.register
def _finish():
    """Wait for the threads: a process that ends while one of them is inside OpenCV or MXNet would crash."""
    _ending.set()
    end = time.monotonic() + PATIENCE
    while _tasks and time.monotonic() < end:
        time.sleep(0.01)
