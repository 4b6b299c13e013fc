"""The matrix unit (AMX) of CPUs that have one, for MXNet's convolutions in INT8 and bfloat16.

Imported before MXNet, which reads the environment when it is loaded.

MXNet 1.9.1 holds oneDNN 2.4.4, which leaves AMX alone unless DNNL_MAX_CPU_ISA allows it, and Linux ends a process that
uses AMX without having asked (Documentation/arch/x86/xstate.rst). So we ask, and allow it where the answer is yes: a
large convolution became 3 times as fast in INT8 and 8 times in bfloat16 (docs/cpu.md). DNNL_MAX_CPU_ISA,
where it is set, decides: AVX512_CORE_BF16 does without AMX.

Programs that this one starts inherit the variable, but not the permission: those that compute in INT8 or bfloat16 with
MXNet must import rfcn too.
"""
import ctypes
import os
from pathlib import Path

CPU_FLAGS = {'amx_tile', 'amx_int8', 'amx_bf16'}
LIMIT, AMX = 'DNNL_MAX_CPU_ISA', 'AVX512_CORE_AMX'
ARCH_PRCTL, ARCH_REQ_XCOMP_PERM, XTILEDATA = 158, 0x1023, 18    # of Linux on x86-64


def cpu_flags(cpuinfo='/proc/cpuinfo'):
    """The names of this CPU's instruction sets, as Linux calls them; none where the system does not say."""
    try:
        lines = Path(cpuinfo).read_text().splitlines()
    except OSError:
        return set()
    return set().union(*[line.split() for line in lines if line.startswith('flags')][:1])


def has_amx(cpuinfo='/proc/cpuinfo'):
    """Whether this CPU has the instructions."""
    return CPU_FLAGS <= cpu_flags(cpuinfo)


def ask_for_amx():
    """Ask Linux to let this process use AMX. Returns whether it does; kernels before 5.16 do not know the question."""
    try:
        return ctypes.CDLL(None).syscall(ARCH_PRCTL, ARCH_REQ_XCOMP_PERM, XTILEDATA) == 0
    except (AttributeError, OSError):
        return False


def use_amx():
    """Use AMX where that is possible. Returns whether MXNet's convolutions will."""
    if not (has_amx() and ask_for_amx()):
        return False
    return os.environ.setdefault(LIMIT, AMX) == AMX


IN_USE = use_amx()
