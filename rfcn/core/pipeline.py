"""Work in threads, with results in the order of the jobs: reading, network and post-processing go on side by side."""
import atexit
import collections
import queue
import threading
import time
from concurrent.futures import Future, wait

import rfcn.operator_py  # noqa: F401  what it waits for at the end of the process, it waits for after `_finish`

PATIENCE = 2.0      # seconds that the end of the process waits for work that was begun
SLOW = 10.0         # seconds of waiting for a result after which `on_wait` is called

_tasks = set()       # futures of the tasks that a thread has yet to do, or to let go of
_ending = threading.Event()


class _Worker(threading.Thread):
    """Does tasks until it is given None.

    It is a daemon, so the process can end without it: a read from a disk that does not answer never returns. Threads of
    concurrent.futures would keep the process alive for ever.
    """

    def __init__(self, tasks):
        super().__init__(daemon=True)
        self.tasks = tasks

    def run(self):
        for future, function, job in iter(self.tasks.get, None):
            if not _ending.is_set() and future.set_running_or_notify_cancel():
                try:
                    future.set_result(function(*job))
                except BaseException as error:  # raised again where the result is asked for
                    future.set_exception(error)
            del function, job   # nothing is held while it waits for the next task: a network may end with them
            _tasks.discard(future)
            del future


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
        _Worker(tasks).start()
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


@atexit.register
def _finish():
    """Wait for the threads: a process that ends while one of them is inside OpenCV or MXNet would crash."""
    _ending.set()
    end = time.monotonic() + PATIENCE
    while _tasks and time.monotonic() < end:
        time.sleep(0.01)
