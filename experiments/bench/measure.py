"""Medians, splits and peaks of what runs on a machine that does other things too; a graph's arithmetic, counted."""
import collections
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import mxnet as mx
import numpy as np

SCRIPT = str(Path(__file__).resolve().parents[1] / 'benchmark.py')
# Kind of operator -> what the names of its operators have in them; the first that fits counts.
KINDS = (('convolution', ('Convolution', '_sg_mkldnn_conv')), ('BatchNorm', ('BatchNorm',)), ('ReLU', ('Activation',)),
         ('sum', ('add', 'sum')), ('cast', ('cast', 'Cast')), ('to and from INT8', ('quantize',)),
         ('proposals', ('Proposal', 'proposal')), ('RoI pooling', ('PSROI', 'psroi_pooling')),
         ('pooling', ('pooling', 'Pooling')), ('update', ('sgd', 'mom_update')), ('copy', ('Copy', 'copy')))
LAYERS = ('Convolution', '_contrib_DeformableConvolution', 'FullyConnected')    # whose arithmetic is counted
IN_PYTHON = '::pure_python'     # ends the name of an operator in Python; beside it stand the copies that it makes


def in_turn(functions, rounds, warm_up=1):
    """Call functions one after the other, again and again, so that whatever else the machine does hits all alike.

    Args:
        functions: name -> function without arguments that returns when its work is done; it may return a dict of
            seconds, parts of its time.
        rounds: calls of each that count. warm_up: calls of each before those.
    Returns:
        name -> dict of the median seconds of each part, and of the whole under 'total'.
    """
    parts = {name: collections.defaultdict(list) for name in functions}
    gc.collect()
    for number in range(warm_up + rounds):
        for name, function in functions.items():
            started = time.perf_counter()
            split = function()
            seconds = dict(split if isinstance(split, dict) else {}, total=time.perf_counter() - started)
            if number >= warm_up:
                for part, value in seconds.items():
                    parts[name][part].append(value)
    return {name: {part: statistics.median(values) for part, values in of_name.items()}
            for name, of_name in parts.items()}


class Stopwatch:
    """Seconds between laps: `lap(name)` gives the time since the last one a name."""

    def __init__(self):
        self.seconds = collections.OrderedDict()
        self._last = time.perf_counter()

    def lap(self, name):
        """End a part."""
        now = time.perf_counter()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._last
        self._last = now


def settings_of_mxnet(**variables):
    """Graphs that are bound in here are bound under these variables of the environment."""
    return mock.patch.dict(os.environ, variables)


def single_operators():
    """Graphs that are bound in here run their operators one by one, not in bulks."""
    return settings_of_mxnet(MXNET_EXEC_BULK_EXEC_TRAIN='0', MXNET_EXEC_BULK_EXEC_INFERENCE='0')


def unfused():
    """Graphs that are bound in here are run as they are: MXNet leaves their operators apart."""
    return settings_of_mxnet(MXNET_SUBGRAPH_BACKEND='NONE')


def operator_seconds(function):
    """Run a function under MXNet's profiler: operator -> its seconds on the engine's threads.

    A training graph must have been bound under `single_operators`, or many operators count as one.
    """
    mx.nd.waitall()
    # MXNet removes the file that it is to write to, which it never does here: a device there would be gone.
    unused = os.path.join(tempfile.gettempdir(), 'rfcn-profile-%d.json' % os.getpid())
    mx.profiler.set_config(profile_symbolic=True, profile_imperative=True, aggregate_stats=True, filename=unused)
    mx.profiler.set_state('run')
    function()
    mx.nd.waitall()
    mx.profiler.set_state('stop')
    statistics_of = json.loads(mx.profiler.dumps(reset=True, format='json'))['Time']
    operators = dict(statistics_of.get('operator', {}))
    operators.update((name, entry) for name, entry in statistics_of.get('Custom Operator', {}).items()
                     if name.endswith(IN_PYTHON))
    return {name: entry['Total'] / 1000.0 for name, entry in operators.items()}  # from milliseconds


def by_kind(seconds):
    """Sums of the seconds of operators by KINDS and 'other', largest first."""
    sums = {}
    for operator, value in seconds.items():
        kind = next((kind for kind, parts in KINDS if any(part in operator for part in parts)), 'other')
        sums[kind] = sums.get(kind, 0.0) + value
    return dict(sorted(sums.items(), key=lambda item: -item[1]))


def in_process(job, environment=None, **settings):
    """What a job of benchmark.py returns, run in a process of its own.

    Args:
        environment: variables on top of those of this process.
    """
    command = [sys.executable, '-W', 'ignore', SCRIPT, '--job', json.dumps(dict(settings, job=job))]
    variables = dict(os.environ, **(environment or {}))
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=variables).stdout.decode()
    return json.loads(output.strip().splitlines()[-1])


def gflop(symbol, **input_shapes):
    """10^9 operations of one forward pass; a multiplication and an addition are two.

    Only convolutions, deformable ones too, and fully connected layers are counted: every element of an output takes as
    many multiplications as its filter has weights.

    Args:
        symbol: a graph whose weights are called `<layer>_weight`.
    """
    internals = symbol.get_internals()
    outputs = dict(zip(internals.list_outputs(), internals.infer_shape(**input_shapes)[1]))
    layers = [node['name'] for node in json.loads(symbol.tojson())['nodes'] if node['op'] in LAYERS]
    return sum(2.0 * np.prod(outputs[name + '_output']) * np.prod(outputs[name + '_weight'][1:])
               for name in layers) / 1e9
