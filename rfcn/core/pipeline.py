"""Work of threads in the order in which it was given, so that reading, the network and what follows it go on side by side."""
import collections
from concurrent.futures import ThreadPoolExecutor


def in_threads(function, jobs, workers=1, ahead=1):
    """Yield function(*job) of each job, in order, computed in threads.

    Jobs are taken in the caller's thread, up to `ahead` of them before the first result is asked for; what fails in a thread is
    raised here.

    Args:
        jobs: iterable of tuples.
    """
    queue = collections.deque()
    executor = ThreadPoolExecutor(workers)
    try:
        for job in jobs:
            queue.append(executor.submit(function, *job))
            if len(queue) > ahead:
                yield queue.popleft().result()
        while queue:
            yield queue.popleft().result()
    finally:
        for future in queue:
            future.cancel()
        executor.shutdown(wait=False)
