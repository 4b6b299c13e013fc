"""What this CPU can do, and the environment variables that tell MXNet so. Imported, and set, before MXNet.

MXNet 1.9.1 and the oneDNN 2.4.4 in it read their environment when they are loaded. Four of their choices are wrong for
us; `prepare` changes each unless the user has set it.

    DNNL_MAX_CPU_ISA         oneDNN leaves a CPU's matrix unit (AMX) alone unless this allows it, and Linux ends a
                             process that uses AMX without having asked (Documentation/arch/x86/xstate.rst). So we ask,
                             and allow it where the answer is yes: a large convolution became 3 times as fast in INT8
                             and 8 times in bfloat16 (docs/cpu.md). AVX512_CORE_BF16 forbids it.
    MXNET_OMP_MAX_THREADS    MXNet takes every x86 processor for a hyper-threaded one and computes with half of them.
                             We give it as many threads as there are cores, or as a container may use at a time.
                             OMP_NUM_THREADS decides where it is set.
    MXNET_MKLDNN_CACHE_NUM   MXNet keeps what oneDNN prepares for each layer and each size of its input, together with
                             its working memory, and never forgets one: ResNet-50 in bfloat16 grew by 40 MB with each
                             new size. With 0 it keeps one of each kind of layer; preparing a layer again takes less
                             time than its memory, fresh from the system, costs (docs/memory.md).
    MXNET_CPU_TEMP_COPY      Operators take turns with 4 pieces of working memory, each as large as the largest needs.
                             As they run one after the other on a CPU, one piece is enough.

Programs that this one starts inherit DNNL_MAX_CPU_ISA, but not the permission to use AMX: those that compute in INT8 or
bfloat16 with MXNet must import rfcn too.
"""
import ctypes
import math
import os
from pathlib import Path
from typing import Optional, Sequence, Set

from lib.errors import ConfigError

CPUINFO = '/proc/cpuinfo'
TOPOLOGY = '/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list'
QUOTAS = (('/sys/fs/cgroup/cpu.max',),      # of a container: quota and period, by cgroup 2 and by cgroup 1
          ('/sys/fs/cgroup/cpu/cpu.cfs_quota_us', '/sys/fs/cgroup/cpu/cpu.cfs_period_us'))
AVX512_BF16, AMX_BF16, AMX_INT8 = 'avx512_bf16', 'amx_bf16', 'amx_int8'    # what /proc/cpuinfo calls the instructions
AMX_FLAGS = {'amx_tile', AMX_INT8, AMX_BF16}
ISA_LIMIT, AMX = 'DNNL_MAX_CPU_ISA', 'AVX512_CORE_AMX'
THREADS, PREPARED_LAYERS, WORKING_MEMORIES = 'MXNET_OMP_MAX_THREADS', 'MXNET_MKLDNN_CACHE_NUM', 'MXNET_CPU_TEMP_COPY'
BACKEND_LINES = 'MXNET_SUBGRAPH_VERBOSE'  # MXNet's "Subgraph backend MKLDNN is activated" at each size of image
ARCH_PRCTL, ARCH_REQ_XCOMP_PERM, XTILEDATA = 158, 0x1023, 18    # of Linux on x86-64


def cpu_flags(cpuinfo: str = CPUINFO) -> Set[str]:
    """The names of this CPU's instruction sets, as Linux calls them; none where the system does not say."""
    try:
        lines = Path(cpuinfo).read_text().splitlines()
    except OSError:
        return set()
    return set().union(*[line.split() for line in lines if line.startswith('flags')][:1])


def cores(topology: str = TOPOLOGY) -> Optional[int]:
    """The cores this process may use. None where the system does not say.

    Hyper-threads of one core count once. In a container whose processor time is limited (Docker's --cpus, Kubernetes'
    limits) there are no more than may be used at a time: it sees all processors of the host, and with a thread for each
    of them it would be stopped for most of the time.
    """
    try:
        there = len({Path(topology % processor).read_text() for processor in os.sched_getaffinity(0)})
    except (AttributeError, OSError):
        return None
    return min(there, quota() or there)


def quota(files: Sequence[Sequence[str]] = QUOTAS) -> Optional[int]:
    """How many processors this container may use at a time, rounded up. None without a limit."""
    for names in files:
        try:
            limit, period = ' '.join(Path(name).read_text() for name in names).split()
            return math.ceil(int(limit) / int(period)) if int(limit) > 0 else None
        except (OSError, ValueError):   # not there; 'max'
            continue
    return None


def has_amx(cpuinfo: str = CPUINFO) -> bool:
    """Whether this CPU has the instructions of the matrix unit."""
    return AMX_FLAGS <= cpu_flags(cpuinfo)


def ask_for_amx() -> bool:
    """Ask Linux to let this process use AMX. Returns its answer; kernels before 5.16 do not know the question."""
    try:
        return ctypes.CDLL(None).syscall(ARCH_PRCTL, ARCH_REQ_XCOMP_PERM, XTILEDATA) == 0
    except (AttributeError, OSError):
        return False


def uses_amx() -> bool:
    """Whether MXNet's convolutions in INT8 and bfloat16 use AMX, once `prepare` has been called."""
    return has_amx() and ask_for_amx() and os.environ.get(ISA_LIMIT) == AMX


def prepare() -> None:
    """Set the environment variables for MXNet that the user has not set."""
    if has_amx() and ask_for_amx():
        os.environ.setdefault(ISA_LIMIT, AMX)
    if 'OMP_NUM_THREADS' not in os.environ and cores():
        os.environ.setdefault(THREADS, str(cores()))
    os.environ.setdefault(PREPARED_LAYERS, '0')
    os.environ.setdefault(WORKING_MEMORIES, '1')
    os.environ.setdefault(BACKEND_LINES, '0')


def check_device(cfg, phase):
    """Raise a ConfigError where the precision of 'TRAIN' or 'TEST' is one that GPUs do not have here."""
    if cfg[phase].PRECISION != 'fp32' and cfg.gpus:
        raise ConfigError("%s.PRECISION: %s runs on the CPU alone; write fp32, or gpus: ''"
                          % (phase, cfg[phase].PRECISION))
