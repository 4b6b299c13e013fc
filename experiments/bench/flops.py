"""The arithmetic of a graph, counted from the shapes of its layers."""
import json

import numpy as np

LAYERS = ('Convolution', '_contrib_DeformableConvolution', 'FullyConnected')


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
