"""MXNet's operators in ONNX's: a table of functions, and the walk through a test graph that applies it."""
import ast
import json

import numpy as np

from lib.errors import ConfigError
from rfcn.exporters import onnx_rpn
from rfcn.exporters.onnx_graph import FLOAT, Graph, columns, ints, numbers_to, size_of

DEFORMABLE = ('_contrib_DeformableConvolution', '_contrib_DeformablePSROIPooling')
ACTIVATIONS = {'relu': 'Relu', 'sigmoid': 'Sigmoid', 'tanh': 'Tanh'}
POOLINGS = {'max': ('MaxPool', 'GlobalMaxPool'), 'avg': ('AveragePool', 'GlobalAveragePool')}
LEAST_SIDE = np.float32(0.1)    # cells, of a RoI
SPLIT = np.float32(2 ** 12)     # `quotient` splits numbers at the digit that counts 1 / SPLIT


def add_network(graph: Graph, symbol, arg_params, aux_params):
    """Add a test graph of MXNet, for one image.

    Args:
        symbol: mx.sym.Symbol with the inputs data and im_info, which `graph` has already.
        arg_params, aux_params: name -> NDArray.
    Returns:
        list of the names that the symbol's outputs have in `graph`.
    Raises:
        ConfigError: an operator, or a kind of one, that is not in the table.
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


def _counterpart(table, kind, op):
    if kind not in table:
        raise ConfigError('%s of the kind %s cannot be written as ONNX; those that can: %s'
                          % (op, kind, ', '.join(sorted(table))))
    return table[kind]


def _activation(graph, attributes, data):
    return graph(_counterpart(ACTIVATIONS, attributes['act_type'], 'Activation'), data)


def _pooling(graph, attributes, data):
    kind = attributes.get('pool_type', 'max')
    of_windows, of_all = _counterpart(POOLINGS, kind, 'Pooling')
    if attributes.get('global_pool', False):
        return graph(of_all, data)
    ceil = int(attributes.get('pooling_convention', 'valid') == 'full')
    if kind == 'max':
        return graph(of_windows, data, ceil_mode=ceil, **_window(attributes))
    return graph(of_windows, data, ceil_mode=ceil, count_include_pad=int(attributes.get('count_include_pad', True)),
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


def psroi_pool(graph: Graph, data: str, rois: str, *, spatial_scale: float, output_dim: int, bins: int) -> str:
    """Add the nodes of `lib.psroi.psroi_pooling.psroi_pool` for one image.

    A bin is a rectangle of cells, so its sum is a product of three: a row of zeros and ones over the map's rows, the
    map, a column of zeros and ones over the map's columns. Two matrix products thus sum up the bins of all RoIs, and
    each number in a sum is added as it is: differences of running sums would lose digits on a large map. Row of bins by
    row, so that no more than R * k * D * W numbers are kept at a time.

    Args:
        data: (1, output_dim * bins^2, H, W) score maps.
        rois: (R, 5) image index, which is 0, and box.
        spatial_scale, output_dim, bins: see there (bins: pooled_size).
    Returns:
        (R, output_dim, bins, bins).
    """
    x, width, y, height = scaled_rois(graph, rois, spatial_scale)
    rows, row_counts = bin_masks(graph, y, height, bins, size_of(graph, data, 2))           # (R, k, H), (R, k)
    cols, col_counts = bin_masks(graph, x, width, bins, size_of(graph, data, 3))            # (R, k, W), (R, k)
    cols = graph('Unsqueeze', graph('Transpose', cols, perm=[1, 0, 2]), ints(3))            # (k, R, W, 1)
    maps = graph('Reshape', data, ints(output_dim, bins * bins, 0, 0))                      # (D, k*k, H, W)
    maps = graph('Transpose', maps, perm=[1, 2, 0, 3])                                      # (k*k, H, D, W)
    sums = []
    for i in range(bins):
        of_row = graph('Slice', maps, ints(i * bins), ints((i + 1) * bins), ints(0))        # (k, H, D, W)
        of_row = graph('Reshape', of_row, ints(0, 0, -1))                                   # (k, H, D*W)
        mask = graph('Gather', rows, np.int64(i), axis=1)                                   # (R, H)
        summed = graph('Reshape', graph('MatMul', mask, of_row), ints(0, 0, output_dim, -1))    # (k, R, D, W)
        summed = graph('Squeeze', graph('MatMul', summed, cols), ints(3))                   # (k, R, D)
        sums.append(graph('Unsqueeze', summed, ints(0)))
    sums = graph('Transpose', graph('Concat', *sums, axis=0), perm=[2, 3, 0, 1])            # (R, D, k, k)
    cells = graph('Mul', graph('Unsqueeze', row_counts, ints(2)), graph('Unsqueeze', col_counts, ints(1)))
    return graph('Div', sums, graph('Unsqueeze', graph('Max', cells, np.float32(1)), ints(1)))


def scaled_rois(graph: Graph, rois: str, spatial_scale: float):
    """x, width, y, height in cells, each (R, 1); see `lib.psroi.psroi_pooling.scaled_roi`."""
    boxes = columns(graph, rois, 1, 5)
    away = graph('Floor', graph('Add', graph('Abs', boxes), np.float32(0.5)))
    rounded = graph('Mul', graph('Sign', boxes), away)                                      # halves away from zero
    scale = np.float32(spatial_scale)
    start = graph('Mul', columns(graph, rounded, 0, 2), scale)                              # (R, 2) x, y
    end = graph('Mul', graph('Add', columns(graph, rounded, 2, 4), np.float32(1)), scale)
    sides = graph('Max', graph('Sub', end, start), LEAST_SIDE)
    return (columns(graph, start, 0, 1), columns(graph, sides, 0, 1),
            columns(graph, start, 1, 2), columns(graph, sides, 1, 2))


def bin_masks(graph: Graph, start: str, length: str, bins: int, limit: str):
    """Which cells along one side belong to each bin; see `lib.psroi.psroi_pooling.bins`.

    Args:
        start, length: (R, 1) cells. limit: (1,) int64, cells of the map along that side.
    Returns:
        (R, k, limit) of 0 and 1, and (R, k) how many cells a bin has.
    """
    size = quotient(graph, length, bins)
    number = np.arange(bins, dtype=np.float32)[None]                                        # (1, k)
    first = graph('Floor', graph('Add', graph('Mul', size, number), start))                 # (R, k)
    end = graph('Ceil', graph('Add', graph('Mul', size, number + np.float32(1)), start))
    cell = numbers_to(graph, limit)
    inside = graph('And', graph('GreaterOrEqual', cell, graph('Unsqueeze', first, ints(2))),
                   graph('Less', cell, graph('Unsqueeze', end, ints(2))))                   # (R, k, limit)
    mask = graph('Cast', inside, to=FLOAT)
    return mask, graph('ReduceSum', mask, ints(2), keepdims=0)


def quotient(graph: Graph, x: str, divisor: int) -> str:
    """x / divisor, rounded as IEEE 754 asks, in every runtime.

    The last digit decides where a bin that ends between two cells begins and ends. OpenVINO multiplies by 1 / divisor
    in place of dividing by a constant, which gives another last digit in some cases. So the remainder, which is
    computed without rounding, is divided too, and corrects the quotient.

    Args:
        x: numbers from 2^-10 to 2^12. divisor: 1 to 16.
    """
    rough = graph('Div', x, np.float32(divisor))
    high = graph('Mul', graph('Floor', graph('Mul', rough, SPLIT)), np.float32(1) / SPLIT)
    low = graph('Sub', rough, high)     # each half has so few digits that its product with the divisor is exact
    remainder = graph('Sub', graph('Sub', x, graph('Mul', high, np.float32(divisor))),
                      graph('Mul', low, np.float32(divisor)))
    return graph('Add', rough, graph('Mul', remainder, np.float32(1 / divisor)))
