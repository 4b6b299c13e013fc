"""MXNet's operators in ONNX's: a table of functions, and the walk through a test graph that applies it."""
import ast
import json

import numpy as np

from lib.errors import ConfigError
from rfcn.exporters import onnx_rpn
from rfcn.exporters.onnx_graph import Graph, ints
from rfcn.exporters.onnx_pool import psroi_pool

DEFORMABLE = ('_contrib_DeformableConvolution', '_contrib_DeformablePSROIPooling')
_RELUS = {'relu': 'Relu', 'sigmoid': 'Sigmoid', 'tanh': 'Tanh'}


def add_network(graph: Graph, symbol, arg_params, aux_params):
    """Add a test graph of MXNet, for one image.

    Args:
        symbol: mx.sym.Symbol with the inputs data and im_info, which `graph` has already.
        arg_params, aux_params: name -> NDArray.
    Returns:
        list of the names that the symbol's outputs have in `graph`.
    Raises:
        ConfigError: an operator that is not in the table.
    """
    described = json.loads(symbol.tojson())
    params = dict(arg_params, **aux_params)
    values = []         # of each node, the names of its outputs
    for node in described['nodes']:
        inputs = [values[number][output] for number, output, _ in node['inputs']]
        if node['op'] == 'null':
            name = node['name']
            values.append([name if name not in params else graph.parameter(name, params[name].asnumpy())])
            continue
        found = _function(node)(graph, _attributes(node), *inputs)
        values.append(list(found) if isinstance(found, tuple) else [found])
    return [values[number][output] for number, output, _ in described['heads']]


def _function(node):
    op = node['op'] if node['op'] != 'Custom' else node['attrs']['op_type']
    if op in DEFORMABLE:
        raise ConfigError('%s: deformable R-FCN cannot be written as ONNX: runtimes have no deformable position-'
                          'sensitive pooling, and few have the deformable convolution. Plain MXNet can: --out '
                          'PREFIX-symbol.json' % node['name'])
    if op not in TABLE:
        raise ConfigError('%s: the operator %s cannot be written as ONNX; those that can: %s'
                          % (node['name'], op, ', '.join(sorted(TABLE))))
    return TABLE[op]


def _attributes(node):
    """Attribute name -> value: MXNet writes them as Python does, this project's operators as JSON; texts stay."""
    def read(text):
        for reader in (json.loads, ast.literal_eval):
            try:
                return reader(text)
            except (ValueError, SyntaxError):
                pass
        return text
    return {name: read(text) for name, text in node.get('attrs', {}).items()}


def _window(attributes):
    """Attributes of a convolution's or a pooling's window."""
    pad = attributes.get('pad', (0, 0))
    return dict(kernel_shape=list(attributes['kernel']), strides=list(attributes.get('stride', (1, 1))),
                pads=list(pad) * 2)


def _convolution(graph, attributes, data, weight, bias=None):
    inputs = (data, weight) if bias is None else (data, weight, bias)
    return graph('Conv', *inputs, group=int(attributes.get('num_group', 1)),
                 dilations=list(attributes.get('dilate', (1, 1))), **_window(attributes))


def _batch_norm(graph, attributes, data, gamma, beta, mean, var):
    if attributes.get('fix_gamma', True):       # MXNet's default: gamma counts as 1 whatever it holds
        gamma = np.ones_like(graph.constants[gamma])
    return graph('BatchNormalization', data, gamma, beta, mean, var, epsilon=float(attributes.get('eps', 1e-3)))


def _activation(graph, attributes, data):
    return graph(_RELUS[attributes['act_type']], data)


def _pooling(graph, attributes, data):
    kind = attributes.get('pool_type', 'max')
    if attributes.get('global_pool', False):
        return graph({'avg': 'GlobalAveragePool', 'max': 'GlobalMaxPool'}[kind], data)
    ceil = int(attributes.get('pooling_convention', 'valid') == 'full')
    if kind == 'max':
        return graph('MaxPool', data, ceil_mode=ceil, **_window(attributes))
    return graph('AveragePool', data, ceil_mode=ceil, count_include_pad=int(attributes.get('count_include_pad', True)),
                 **_window(attributes))


def _reshape(graph, attributes, data):
    shape = attributes['shape']
    if min(shape) < -1:
        raise ConfigError('Reshape to %s cannot be written as ONNX, which has only 0 and -1 for unknown sides'
                          % (shape,))
    return graph('Reshape', data, ints(*shape))


def _softmax(graph, attributes, data):
    return graph('Softmax', data, axis=1 if attributes.get('mode') == 'channel' else -1)


def _fully_connected(graph, attributes, data, weight, bias=None):
    inputs = (weight,) if bias is None else (weight, bias)
    return graph('Gemm', graph('Flatten', data, axis=1), *inputs, transB=1)


def _roi_pooling(graph, attributes, data, rois):
    return graph('MaxRoiPool', data, rois, pooled_shape=list(attributes['pooled_size']),
                 spatial_scale=float(attributes['spatial_scale']))


def _psroi_pooling(graph, attributes, data, rois):
    return psroi_pool(graph, data, rois, spatial_scale=attributes['spatial_scale'],
                      output_dim=attributes['output_dim'], bins=attributes['pooled_size'])


def _multi_proposal(graph, attributes, cls_prob, bbox_pred, im_info):
    return onnx_rpn.proposals(
        graph, cls_prob, bbox_pred, im_info, native=True, stride=attributes['feature_stride'],
        scales=attributes['scales'], ratios=attributes['ratios'], pre_nms_top_n=attributes['rpn_pre_nms_top_n'],
        post_nms_top_n=attributes['rpn_post_nms_top_n'], nms_thresh=attributes['threshold'],
        min_size=attributes['rpn_min_size'])


def _python_proposal(graph, attributes, cls_prob, bbox_pred, im_info):
    return onnx_rpn.proposals(graph, cls_prob, bbox_pred, im_info, native=False, scales=attributes['scales'],
                              ratios=attributes['ratios'], **attributes['settings'])


def _best_anchors(graph, attributes, cls_prob, bbox_pred, im_info):
    return onnx_rpn.best_anchors(graph, cls_prob, bbox_pred, im_info, scales=attributes['scales'],
                                 ratios=attributes['ratios'], **attributes['settings'])


TABLE = {
    'Convolution': _convolution,
    'BatchNorm': _batch_norm,
    'Activation': _activation,
    'Pooling': _pooling,
    'elemwise_add': lambda graph, attributes, *inputs: graph('Add', *inputs),
    'broadcast_add': lambda graph, attributes, *inputs: graph('Add', *inputs),
    'Reshape': _reshape,
    'SoftmaxActivation': _softmax,
    'FullyConnected': _fully_connected,
    '_copy': lambda graph, attributes, data: graph('Identity', data),
    'ROIPooling': _roi_pooling,
    '_contrib_PSROIPooling': _psroi_pooling,
    '_contrib_MultiProposal': _multi_proposal,
    'proposal': _python_proposal,
    'best_anchors': _best_anchors,
}
