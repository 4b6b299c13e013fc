"""As many threads for MXNet's operators as there are cores.

Imported before MXNet, which reads the environment when it is loaded.

Left alone, MXNet 1.9.1 takes every x86 processor for a hyper-threaded one and computes with half of the processors,
also where each of them is a core of its own: half of the speed. OMP_NUM_THREADS or MXNET_OMP_MAX_THREADS, where they
are set, decide.
"""
import os
from pathlib import Path

TOPOLOGY = '/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list'


def cores(topology=TOPOLOGY):
    """The cores this process may run on: hyper-threads of one core count once. None where the system does not say."""
    try:
        return len({Path(topology % processor).read_text() for processor in os.sched_getaffinity(0)})
    except (AttributeError, OSError):
        return None


if 'OMP_NUM_THREADS' not in os.environ and cores():
    os.environ.setdefault('MXNET_OMP_MAX_THREADS', str(cores()))
