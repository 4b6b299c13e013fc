"""The machine that was measured, and the fastest that MXNet can be on it."""
import os

import mxnet as mx
import numpy as np

from experiments.bench.measure import gflop, in_turn
from rfcn import collect_env
from rfcn.precision.bf16 import has_bf16, with_bf16_convolutions
from rfcn.precision.quantization import quantize

# (channels, kernel, side of the map): large convolutions; the best of them counts
CONVOLUTIONS = ((512, 3, 64), (1024, 1, 64), (256, 3, 96))


def describe():
    """One-line facts."""
    return {'revision': collect_env.git_revision(), 'CPU': collect_env.cpu(), 'processors': collect_env.processors(),
            'threads': os.environ.get('OMP_NUM_THREADS') or os.environ.get('MXNET_OMP_MAX_THREADS') or "MXNet's choice",
            'memory': collect_env.proc_field('/proc/meminfo', 'MemTotal'), 'system': collect_env.run('uname', '-sr'),
            'MXNet': mx.__version__, 'NumPy': np.__version__}


def limits(rounds=5):
    """Precision -> the most 10^9 operations a second that a convolution reaches, forward."""
    best = {}
    for channels, kernel, side in CONVOLUTIONS:
        layer = mx.sym.Convolution(mx.sym.Variable('data'), name='layer', num_filter=channels, kernel=(kernel, kernel),
                                   pad=(kernel // 2,) * 2, no_bias=True)
        shape = (1, channels, side, side)
        seconds = in_turn(_by_precision(layer, shape, kernel), rounds)
        for name, parts in seconds.items():
            best[name] = max(best.get(name, 0.0), gflop(layer, data=shape) / parts['total'])
    return best


def _by_precision(layer, shape, kernel):
    """Precision -> a function that computes the layer and waits for it."""
    data = mx.nd.random.normal(shape=shape)
    params = {'layer_weight': mx.nd.random.normal(shape=(shape[1], shape[1], kernel, kernel))}
    batch = mx.io.DataBatch([data], provide_data=[mx.io.DataDesc('data', shape)])
    symbols = {'fp32': layer, 'int8': quantize(layer, params, {}, [batch])[0]}
    if has_bf16():
        symbols['bf16'] = with_bf16_convolutions(layer)
    return {name: _runner(symbol, data, params) for name, symbol in symbols.items()}


def _runner(symbol, data, params):
    executor = symbol.simple_bind(mx.cpu(), grad_req='null', data=data.shape)
    executor.copy_params_from(dict(params, data=data))

    def run():
        executor.forward(is_train=False)
        mx.nd.waitall()
    return run
