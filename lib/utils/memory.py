"""This process's memory: how much it has, its limits, what a training needs, and the messages where memory runs out."""
from __future__ import annotations

import contextlib
import ctypes
import errno
import logging
import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Collection, Iterator, Sequence

logger = logging.getLogger(__name__)

MEGABYTE = 2 ** 20
STATUS, MEMINFO = '/proc/self/status', '/proc/meminfo'
CGROUP_LIMITS = ('/sys/fs/cgroup/memory.max', '/sys/fs/cgroup/memory/memory.limit_in_bytes')   # version 2, version 1
UNLIMITED = 2 ** 60     # version 1 writes a number near 2 ** 63 for no limit
KILLS = ('/sys/fs/cgroup/memory.events', '/sys/fs/cgroup/memory/memory.oom_control', '/proc/vmstat')
NEAR = 0.85             # share of a limit from which on a warning is logged
# Parts of the messages of MXNet, OpenCV, oneDNN and C++ when an allocation fails.
SIGNS = ('Failed to allocate', 'bad_alloc', 'Insufficient memory', 'could not create a memory', 'out of memory')
NO_THREAD = "can't start new thread"    # Python's message
HELP = ('What helps: smaller SCALES, fewer TRAIN.BATCH_IMAGES (with a larger TRAIN.GRAD_ACCUM), PRECISION bf16 on a '
        'CPU that has it, a smaller network, more memory or a higher limit. The newest checkpoint is whole: '
        'TRAIN.RESUME=auto goes on from it')
DONE = b'done'


def proc_megabytes(path: str, field: str) -> float:
    """The number of a line 'field: N kB' in a file of /proc, in megabytes; 0 if there is no such line."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(field + ':')), 0.0)


def resident() -> float:
    """Resident memory of this process, in megabytes."""
    return proc_megabytes(STATUS, 'VmRSS')


def peak() -> float:
    """Largest resident memory that this process has had, in megabytes.

    resource.getrusage would not do: under Linux a child begins with the peak of its parent.
    """
    return proc_megabytes(STATUS, 'VmHWM')


def limits(meminfo: str = MEMINFO, cgroups: Sequence[str] = CGROUP_LIMITS) -> dict[str, float]:
    """The limits of this process's memory, name -> megabytes: the machine, its control group, `ulimit -v`."""
    found = {"this machine's memory": proc_megabytes(meminfo, 'MemTotal')}
    for path in cgroups:
        text = Path(path).read_text().strip() if os.path.isfile(path) else ''
        if text.isdigit() and int(text) < UNLIMITED:
            found['the limit of its control group (container)'] = int(text) / MEGABYTE
    if _is_limited():
        found['the limit set by ulimit -v'] = resource.getrlimit(resource.RLIMIT_AS)[0] / MEGABYTE
    return {name: value for name, value in found.items() if value}


def is_lack_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory could not be allocated.

    A thread that cannot start lacks memory for its stack where memory is limited; else it is one thread too many.
    """
    return (isinstance(error, MemoryError) or getattr(error, 'errno', None) == errno.ENOMEM
            or any(sign in str(error) for sign in SIGNS) or (NO_THREAD in str(error) and _is_limited()))


def _is_limited():
    return resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY


def lack_of_memory() -> str:
    """The message for a process that ended for lack of memory."""
    limit, megabytes = min(limits().items(), key=lambda item: item[1])
    return 'the memory did not suffice (%s: %.0f MB). %s' % (limit, megabytes, HELP)


def give_back() -> None:
    """Have the C library return free memory to the system, also the pieces between memory in use. Takes little time."""
    trim = getattr(ctypes.CDLL(None), 'malloc_trim', None)      # only glibc has it
    if trim:
        trim(0)


def log_expected(images: int, sizes: Collection[tuple[int, int]], megabytes: float) -> None:
    """Log how much memory a training needs, and warn where that comes near a limit.

    Args:
        images: their number.
        sizes: the different (height, width) of the images in the network's input.
        megabytes: the expected peak; 0 if it is not known (on GPUs).
    """
    largest = max(sizes, key=lambda size: size[0] * size[1])
    in_sizes = 'of one size,' if len(sizes) == 1 else 'in %d different sizes, the largest' % len(sizes)
    logger.info('%d images (mirror images included) %s %d x %d (height x width)%s', images, in_sizes, *largest,
                '; expected peak of memory %.0f MB' % megabytes if megabytes else '')
    for name, limit in limits().items():
        if megabytes > NEAR * limit:
            logger.warning('that is %.0f %% of %s, %.0f MB. %s', 100 * megabytes / limit, name, limit, HELP)


@contextlib.contextmanager
def watch(log: str | os.PathLike | None = None) -> Iterator[None]:
    """During a `with` block, a small process watches this one and tells if the system ends it for lack of memory.

    It writes to stderr and to the end of the log file `log`. The system kills a process without a message (SIGKILL),
    and under `ulimit -v` code that does not check its allocations ends in a segmentation fault or an abort, so that
    this process cannot say anything. Exceptions are not reported: whoever catches them does that.
    """
    # It imports this file alone, to be small: so this file imports nothing but the standard library.
    command = 'import sys; sys.path.insert(0, sys.argv[1]); import memory; memory.report_end(*sys.argv[2:])'
    watcher = subprocess.Popen([sys.executable, '-S', '-c', command, str(Path(__file__).resolve().parent)]
                               + [str(log)] * bool(log), stdin=subprocess.PIPE, start_new_session=True)
    try:
        yield
    finally:
        _end_watch(watcher)


def _end_watch(watcher):
    try:
        watcher.communicate(DONE, timeout=5)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        watcher.kill()
        watcher.wait()


def kills(paths: Sequence[str] = KILLS) -> int:
    """How many processes the system has ended for lack of memory, in this control group or else on this machine."""
    for path in paths:
        found = re.search(r'^oom_kill (\d+)', Path(path).read_text(), re.MULTILINE) if os.path.isfile(path) else None
        if found:
            return int(found.group(1))
    return 0


def report_end(log: str | None = None) -> None:
    """Run by the small process of `watch`: wait until the pipe is closed; without a last word in it, tell why."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    before, limited = kills(), _is_limited()
    if sys.stdin.buffer.read() == DONE:
        return
    if not limited:
        time.sleep(0.2)     # until the system has counted the kill
    if limited or kills() > before:
        text = 'error: the process ended without a word, in all likelihood because ' + lack_of_memory()
        print(text, file=sys.stderr)
        if log and os.path.isfile(log):
            with open(log, 'a') as file:
                file.write(text + '\n')
