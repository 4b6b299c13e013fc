"""INT8 models: a test graph whose convolutions multiply 8 bit integers (post-training quantisation, Jacob et al. 2018).

MXNet fuses each convolution with the BatchNorm, sum and ReLU behind it and replaces what it fused; the ranges that the
integers stand for come from images that pass through the fp32 graph. Weights stay fp32 in the file: MXNet rounds them,
with a scale per filter, when the graph is bound. Its graph holds the ranges; its parameters are those of the fp32 model
but for biases, which make up for what the rounding of weights adds on average (Nagel et al. 2019, section 4.2).
"""
import copy
import ctypes
import json
import logging
import re
import shlex

import mxnet as mx
import numpy as np
from mxnet.base import NDArrayHandle, py_str
from mxnet.contrib.quantization import _get_optimal_thresholds, calib_graph, quantize_graph

from lib.errors import CheckpointError, ConfigError
from lib.utils.limits import is_there
from rfcn.checkpoints.checkpoint import SYMBOL_END, load_params
from rfcn.checkpoints.states import checksum
from rfcn.checkpoints.symbol_file import load_symbol_file, sum_in

logger = logging.getLogger(__name__)

BACKEND = 'MKLDNN_QUANTIZE'
FUSED_CONVOLUTION = '_sg_mkldnn_conv'
# MXNet would store their weights in 8 bits, under other names: an INT8 model has the names of the fp32 one.
FULLY_CONNECTED = ['FullyConnected', '_sg_mkldnn_fully_connected']
WEIGHT, BIAS, BETA = '_weight', '_bias', '_beta'
BN_DEFAULTS = {'fix_gamma': 'True', 'eps': '1e-3'}      # MXNet's, of a BatchNorm that does not state them
INPUT = '_data'     # ends the name under which MXNet shows what a convolution reads
LEAST, GREATEST = 'min_calib_range', 'max_calib_range'
RANGES = 4      # the last inputs of a fused convolution with a sum: ranges of its input and of what it adds to


def nodes_of(symbol):
    """The nodes of a graph as its JSON describes them, each with the names of its inputs under 'input_names'."""
    nodes = json.loads(symbol.tojson())['nodes']
    for node in nodes:
        node['input_names'] = [nodes[source[0]]['name'] for source in node['inputs']]
    return nodes


def convolutions(symbol):
    """Names of the convolutions of a graph, deformable ones too, in their order."""
    return [node['name'] for node in nodes_of(symbol) if node['op'].endswith('Convolution')]


def fused_layers(fused):
    """Layer, by the name its weight has -> name of the fused node that computes it."""
    return {name[:-len(WEIGHT)]: node['name'] for node in nodes_of(fused) if node['op'] == FUSED_CONVOLUTION
            for name in node['input_names'] if name.endswith(WEIGHT)}


def int8_layers(symbol):
    """The layers that a graph computes in INT8."""
    return sorted(name[:-len(WEIGHT)] for node in nodes_of(symbol)
                  if node['op'] == FUSED_CONVOLUTION and is_set(node, 'quantized')
                  for name in node['input_names'] if name.endswith(WEIGHT))


def int8_prefix(params):
    """What the names of an INT8 model's files begin with, from the name of the checkpoint that it is made of."""
    return re.sub(r'\.params$', '', str(params)) + '-int8'


def symbol_path(params):
    """`prefix-symbol.json` beside `prefix-0000.params`."""
    return re.sub(r'-\d{4}\.params$', '', str(params)) + SYMBOL_END


def load_symbol(params):
    """The INT8 graph beside a parameter file.

    Raises:
        ConfigError: there is none.
        CheckpointError: the file is damaged, or belongs to other parameters.
    """
    path = symbol_path(params)
    symbol = load_symbol_file(path) if is_there(path) else None
    if symbol is None or not int8_layers(symbol):
        raise ConfigError('TEST.PRECISION is int8, but %s has no INT8 graph beside it (%s). Make an INT8 model of it '
                          'with rfcn quantize --cfg X.yaml --params %s' % (params, path, shlex.quote(str(params))))
    stated = sum_in(path)
    if stated is not None and stated != checksum(*load_params(params)):
        raise CheckpointError('%s and %s are not of one INT8 model: the graph was made for other parameters, perhaps '
                              'by an rfcn quantize that was interrupted. Make the model again' % (path, params))
    return symbol


def quantize(symbol, arg_params, aux_params, batches, *, fp32_layers=(), mode='naive'):
    """The INT8 model of a test graph: `Calibration(...).model(fp32_layers)`."""
    return Calibration(symbol, arg_params, aux_params, batches, mode=mode).model(fp32_layers)


class Calibration:
    """The ranges and means that the values of a test graph have, for INT8 models of it.

    Args:
        symbol: a test graph. arg_params, aux_params: its parameters.
        batches: iterable of `Batch` to take the ranges from; the more alike to what will be tested the better.
        mode: 'naive', ranges from the least to the largest value seen, or 'entropy', ranges that lose the least
            information.
    """

    def __init__(self, symbol, arg_params, aux_params, batches, mode='naive'):
        self.fused = symbol.get_backend_symbol(BACKEND)
        self.attributes = symbol.attr_dict()
        self.params = (arg_params, aux_params)
        self.mode = mode
        self.collector = self._quantized(())[-1]
        self.means = InputMeans(self.fused)
        collect(self.fused, arg_params, aux_params, batches, self.collector, self.means)

    def model(self, fp32_layers=()):
        """The INT8 model: graph, arg_params, aux_params.

        Args:
            fp32_layers: names of layers that stay fp32.
        """
        quantized, arg_params, aux_params, _ = self._quantized(fp32_layers)
        calibrated = calib_graph(quantized, arg_params, aux_params, self._collected(), calib_mode='customize',
                                 quantized_dtype='auto', logger=None)[0]
        graph = with_unclipped_sums(calibrated.get_backend_symbol(BACKEND))
        return graph, self._corrected(int8_layers(graph)), self.params[1]

    def _corrected(self, layers):
        """arg_params with biases that take away what the rounding of some layers' weights adds on average.

        A filter that is off by d adds d * input. What ReLU lets through has means far from 0, so the mean of that, d *
        mean(input), is the larger part of what INT8 is off by.
        """
        arg_params = dict(self.params[0])
        inputs, nodes = {node['name']: node['input_names'] for node in nodes_of(self.fused)}, fused_layers(self.fused)
        for layer in layers:
            added = mean_error(arg_params[layer + WEIGHT].asnumpy(), self.means.of(layer))
            # The first of the two that there is: the convolution's bias stands before BatchNorm.
            name = next((name for name in inputs[nodes[layer]] if name.endswith((BIAS, BETA))), None)
            if name and name.endswith(BETA):
                added = added * self._scale(name[:-len(BETA)])
            if name:
                arg_params[name] = mx.nd.array(arg_params[name].asnumpy() - added)
        return arg_params

    def _scale(self, name):
        """What a BatchNorm multiplies each channel by."""
        (arg_params, aux_params), attributes = self.params, dict(BN_DEFAULTS, **self.attributes.get(name, {}))
        gamma = 1 if attributes['fix_gamma'] in ('True', '1') else arg_params[name + '_gamma'].asnumpy()
        return gamma / np.sqrt(aux_params[name + '_moving_var'].asnumpy() + float(attributes['eps']))

    def _quantized(self, fp32_layers):
        """Graph without ranges, parameters, an empty collector of ranges."""
        excluded = [node for layer, node in fused_layers(self.fused).items() if layer in fp32_layers]
        return quantize_graph(self.fused, *self.params, excluded_sym_names=excluded,
                              excluded_op_names=FULLY_CONNECTED, calib_mode=self.mode, quantized_dtype='auto',
                              quantize_mode='smart')

    def _collected(self):
        """The filled collector, with a range for each output: of 'entropy', MXNet derives them from histograms.

        It empties the histograms that it reads, and its ranges are arrays of one element, which NumPy 2 does not take
        for numbers: so they are a copy and turned into numbers.
        """
        if self.mode != 'entropy':
            return self.collector
        collector = copy.copy(self.collector)
        ranges = _get_optimal_thresholds(dict(collector.hist_dict), 'auto')
        collector.min_max_dict = {name: tuple(float(np.squeeze(end)) for end in ends) for name, ends in ranges.items()}
        return collector


def rounding_error(weights):
    """What rounding to INT8 adds to filters, (filters, channels, height, width), in each channel: (filters, channels).

    Rounded as MXNet does: to 127 steps from 0 to the largest absolute value of each filter.
    """
    steps = np.abs(weights).max(axis=(1, 2, 3), keepdims=True) / 127
    steps[steps == 0] = 1
    return (np.rint(weights / steps) * steps - weights).sum(axis=(2, 3))


def mean_error(weights, means):
    """What rounding to INT8 adds to the output of each filter on average: (filters,).

    Args:
        weights: (filters, channels of a group, height, width). means: (channels,), of what the convolution reads.
    """
    error = rounding_error(weights)
    by_group = means.reshape(-1, error.shape[1])    # (groups, channels of a group)
    return (error * by_group.repeat(len(error) // len(by_group), axis=0)).sum(axis=1)


class InputMeans:
    """Collects the mean of each channel of what the convolutions of a fused graph read."""

    def __init__(self, fused):
        self.layers = {node + INPUT: layer for layer, node in fused_layers(fused).items()}
        self.seen = {}      # layer -> sum over positions, number of positions

    def collect(self, name, array):
        """Called by MXNet with the name and the handle of each value."""
        layer = self.layers.get(py_str(name))
        if layer:
            value = mx.nd.NDArray(ctypes.cast(array, NDArrayHandle), writable=False).asnumpy()
            total, count = self.seen.get(layer, (0.0, 0))
            self.seen[layer] = (total + value.sum(axis=(0, 2, 3), dtype=np.float64),
                                count + value.size // value.shape[1])

    def of(self, layer):
        """The means of what a layer reads: (channels,) float64."""
        total, count = self.seen[layer]
        return total / count


def with_unclipped_sums(quantized):
    """An INT8 graph whose convolutions that add the output of another convolution do not clip it.

    MXNet 1.9.1 adds in place. Where what it adds to is signed (the shortcuts of a ResNet's stages, which no ReLU
    precedes) the sum is stored in -128 to 127, but scaled as if 255 were its largest value: the upper half of its range
    is lost. Twice the range makes its largest value 127.
    """
    graph = json.loads(quantized.tojson())
    nodes = graph['nodes']
    for node in nodes:
        if node['op'] == FUSED_CONVOLUTION and is_set(node, 'quantized') and is_set(node, 'with_sum'):
            added_to = nodes[node['inputs'][-1 - RANGES][0]]
            while LEAST not in added_to.get('attrs', {}):   # a pooling, with the range of what it reads
                added_to = nodes[added_to['inputs'][0][0]]
            if float(added_to['attrs'][LEAST]) < 0 <= float(node['attrs'][LEAST]):
                node['attrs'][GREATEST] = repr(2 * float(node['attrs'][GREATEST]))
    return mx.sym.load_json(json.dumps(graph))


def is_set(node, name):
    """Whether a node of a graph in JSON has an attribute that is true."""
    return node.get('attrs', {}).get(name) == 'true'


def collect(symbol, arg_params, aux_params, batches, *collectors):
    """Show what all nodes read and put out, for every batch, to `collect(name, array)` of each collector."""
    executor, shapes = None, None

    def show(name, array):
        for collector in collectors:
            collector.collect(name, array)
    for batch in batches:
        inputs = {desc.name: value for desc, value in zip(batch.provide_data, batch.data)}
        if shapes != {name: value.shape for name, value in inputs.items()}:
            shapes = {name: value.shape for name, value in inputs.items()}
            executor = symbol.simple_bind(mx.cpu(), grad_req='null', **shapes)
            executor.copy_params_from(arg_params, aux_params, allow_extra_params=True)
            executor.set_monitor_callback(show, monitor_all=True)
        executor.forward(is_train=False, **inputs)
        mx.nd.waitall()


def with_settings(quantized, symbol):
    """An INT8 graph with the settings, such as the number of proposals, of another test graph of the same network.

    Nodes that are in both graphs (proposals, RoI pooling, reshapes) are made like those of `symbol`.
    """
    graph = json.loads(quantized.tojson())
    other = {node['name']: node for node in nodes_of(symbol) if node['op'] != 'null'}
    for node in graph['nodes']:
        if node['op'] != 'null' and node['name'] in other:
            node['op'] = other[node['name']]['op']
            node['attrs'] = other[node['name']].get('attrs', {})
    return mx.sym.load_json(json.dumps(graph))
