"""bfloat16 convolutions, for training and testing on CPUs that have the instructions."""
import logging

import numpy as np
from mxnet.contrib import amp
from mxnet.contrib.amp.lists import symbol_bf16

from rfcn.precision.cpu import AMX_BF16, AVX512_BF16, CPUINFO, cpu_flags, uses_amx

logger = logging.getLogger(__name__)

FLOAT32, BFLOAT16 = '0', '12'               # MXNet's numbers of the types
# Without being named, a fully connected layer behind conv5 (Faster R-CNN) would have inputs of two types.
BF16 = dict(target_dtype='bfloat16', target_dtype_ops=['Convolution'],
            fp32_ops=list(symbol_bf16.FP32_FUNCS) + ['FullyConnected'])


def has_bf16(cpuinfo: str = CPUINFO) -> bool:
    """Whether this CPU multiplies bfloat16 numbers faster than float32.

    Without the instructions MXNet emulates them. A CPU that has AMX must use it: on an Intel Xeon the AVX-512
    instructions alone were slower than float32 (a step of ResNet-101 1.4 times as long), on an AMD EPYC, which has no
    AMX, they were faster (0.6).
    """
    flags = cpu_flags(cpuinfo)
    return uses_amx() if AMX_BF16 in flags else AVX512_BF16 in flags


def with_bf16_convolutions(symbol):
    """The graph with its convolutions in bfloat16, for training.

    Weights, their gradients and momentum stay float32 (a cast stands before each convolution), and so do BatchNorm's
    statistics, RoI operators and losses. What the trunk passes on from convolution to convolution, through BatchNorm,
    ReLU and sums, is bfloat16.
    """
    return _with_types(amp.convert_symbol(symbol, **BF16), {})


def with_bf16_weights(symbol, arg_params, aux_params):
    """A test graph with its convolutions in bfloat16, and its parameters: weights are cast here, not at each image.

    Returns:
        symbol, arg_params, aux_params.
    """
    converted, arg_params, aux_params = amp.convert_model(symbol, dict(arg_params), dict(aux_params), **BF16,
                                                          cast_optional_params=True)
    return _with_types(converted, arg_params), arg_params, aux_params


def _with_types(symbol, arg_params):
    """Say which inputs are bfloat16. MXNet infers types from the inputs on; behind a cast it would find none."""
    nodes = symbol.get_internals()
    for name in symbol.list_arguments() + symbol.list_auxiliary_states():
        cast = name in arg_params and arg_params[name].dtype != np.float32
        nodes[name]._set_attr(__dtype__=BFLOAT16 if cast else FLOAT32)
    return symbol


def use_bf16(precision, key):
    """Whether the value `precision` of the configuration's key `key` is 'bf16' and this CPU is fast with it.

    If it is not, the log says that fp32 takes its place.
    """
    if precision == 'bf16' and not has_bf16():
        logger.warning('%s is bf16, but this CPU lacks the instructions (%s; or %s, on Linux 5.16 or later and allowed '
                       'by DNNL_MAX_CPU_ISA); computing in fp32', key, AVX512_BF16, AMX_BF16)
        return False
    return precision == 'bf16'
