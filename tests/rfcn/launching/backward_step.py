"""A worker's training steps under MXNet's profiler: what it does when. `backward_step.py TRACE.json`."""
import json
import sys

import rfcn  # noqa: F401  before MXNet, which would begin to serve by itself

# isort: split
import mxnet as mx
import numpy as np

from rfcn.cli.script import run_script
from rfcn.core.loader import Batch
from rfcn.core.module import TrainModule
from rfcn.core.workers import workers

LAYERS, FIXED, CHANNELS = 40, 3, 32
PUSH, BACKWARD = 'KVStoreDistDefaultPush', '_backward_'


def deep_network():
    """Convolutions one after the other, and a loss."""
    x = mx.sym.Variable('data')
    for number in range(LAYERS):
        x = mx.sym.Convolution(x, kernel=(3, 3), pad=(1, 1), num_filter=CHANNELS, no_bias=True, name='c%02d' % number)
        x = mx.sym.Activation(x, act_type='relu')
    x = mx.sym.FullyConnected(mx.sym.Pooling(x, global_pool=True, kernel=(1, 1)), num_hidden=2, name='score')
    return mx.sym.SoftmaxOutput(x, mx.sym.Variable('label'))


def main():
    """Train, trace one step, write what was done: (name, begin, end), in microseconds."""
    group, symbol = workers(), deep_network()
    batch = Batch(dict(data=np.ones((1, CHANNELS, 64, 64))), dict(label=np.zeros(1)))
    shapes = {description.name: description.shape for description in batch.provide_data + batch.provide_label}
    params = {name: mx.nd.random.normal(scale=0.1, shape=shape)
              for name, shape in zip(symbol.list_arguments(), symbol.infer_shape(**shapes)[0]) if name not in shapes}
    module = TrainModule(symbol, ['data'], ['label'], [mx.cpu()], fixed=['c%02d' % number for number in range(FIXED)])
    module.start(batch, params, {}, dict(learning_rate=1e-6, momentum=0.9), kvstore=group.store)
    for traced in (False, True):
        if traced:
            mx.profiler.set_config(profile_all=True, filename=sys.argv[1])
            mx.profiler.set_state('run')
        module.step(batch)
        mx.nd.waitall()
    mx.profiler.set_state('stop')
    mx.profiler.dump()


def work_of(path):
    """(name, begin) of the operations in a trace, in the order of their beginnings."""
    with open(path) as file:
        events = json.load(file)['traceEvents']
    return sorted(((event['name'], event['ts']) for event in events if event.get('ph') == 'B'), key=lambda one: one[1])


if __name__ == '__main__':
    run_script(main)
