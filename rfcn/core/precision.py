"""bfloat16 convolutions, for training and testing on CPUs that have the instructions."""
import logging
from pathlib import Path

from mxnet.contrib import amp

from rfcn import _amx

logger = logging.getLogger(__name__)

AVX512, AMX = 'avx512_bf16', 'amx_bf16'     # what /proc/cpuinfo calls the instructions
FLOAT32 = '0'  # MXNet's number of the type


def has_bf16(cpuinfo='/proc/cpuinfo'):
    """Whether this CPU multiplies bfloat16 numbers faster than float32.

    Without the instructions MXNet emulates them. A CPU that has AMX must use it: on an Intel Xeon the AVX-512
    instructions alone were slower than float32 (a step of ResNet-101 1.4 times as long), on an AMD EPYC, which has no
    AMX, they were faster (0.6).
    """
    try:
        flags = set(Path(cpuinfo).read_text().split())
    except OSError:
        return False
    return _amx.IN_USE if AMX in flags else AVX512 in flags


def with_bf16_convolutions(symbol):
    """The graph with its convolutions in bfloat16.

    Weights, their gradients and momentum stay float32 (a cast stands before each convolution), and so do BatchNorm's
    statistics, RoI operators and losses. What the trunk passes on from convolution to convolution, through BatchNorm,
    ReLU and sums, is bfloat16.
    """
    converted = amp.convert_symbol(symbol, target_dtype='bfloat16', target_dtype_ops=['Convolution'])
    nodes = converted.get_internals()
    for name in converted.list_arguments() + converted.list_auxiliary_states():
        # MXNet infers types from the inputs on; behind a cast it would find none.
        nodes[name]._set_attr(__dtype__=FLOAT32)
    return converted


def in_precision(symbol, precision, key):
    """The graph with its convolutions in bfloat16 where a precision is 'bf16'; otherwise as it is.

    It stays in fp32, with a word in the log, where bf16 would be slow.

    Args:
        precision: value of the configuration's key `key`.
    """
    if precision != 'bf16':
        return symbol
    if not has_bf16():
        logger.warning('%s is bf16, but this CPU lacks the instructions (%s; or %s, on Linux 5.16 or later and allowed '
                       'by DNNL_MAX_CPU_ISA); computing in fp32', key, AVX512, AMX)
        return symbol
    return with_bf16_convolutions(symbol)
