"""What INT8 costs, layer by layer: how far the network's last maps are from those of fp32."""
import mxnet as mx
import numpy as np

from rfcn.core.loader import Batch
from rfcn.core.predictor import Predictor
from rfcn.core.quantization import Calibration, convolutions, fused_layers, nodes_of

IMAGES = 4  # to compare on; the ranges come from all


def last_convolutions(symbol):
    """Names of the convolutions whose output goes through no other one: the score and box maps."""
    names, behind, last = set(convolutions(symbol)), {}, set()
    for node in nodes_of(symbol):
        behind[node['name']] = set().union(*[behind[source] for source in node['input_names']])
        if node['name'] in names:
            last = last - behind[node['name']] | {node['name']}
            behind[node['name']] = behind[node['name']] | {node['name']}
    return [name for name in convolutions(symbol) if name in last]


class Sensitivity(object):
    """Errors of a network's last maps under INT8, in any of its layers.

    Args:
        symbol: a test graph. arg_params, aux_params: its parameters.
        batches: iterable of batches of images for the ranges, 'naive' ones; the first ones serve to compare, too.
    Attributes:
        maps: names of the maps. layers: names of the layers that they need and that can be INT8, in their order.
    """

    def __init__(self, symbol, arg_params, aux_params, batches):
        self.maps = last_convolutions(symbol)
        internals = symbol.get_internals()
        self.symbol = mx.sym.Group([internals[name + '_output'] for name in self.maps])
        self.params = (arg_params, aux_params)
        images = [Batch(dict(data=batch.data[0].asnumpy()), {}, pad=0, images=batch.images) for batch in batches]
        self.calibration = Calibration(self.symbol, arg_params, aux_params, images)
        self.layers = tuple(name for name in convolutions(self.symbol) if name in fused_layers(self.calibration.fused))
        self.images = images[:IMAGES]
        self.expected = self._maps(self.symbol)

    def errors(self, int8_layers):
        """Root mean square of the error of each map over that of the map itself, with INT8 in some layers alone."""
        found = self._maps(self.calibration.graph([name for name in self.layers if name not in int8_layers]))
        return [norm(f - e for f, e in zip(*pair)) / norm(pair[1]) for pair in zip(found, self.expected)]

    def _maps(self, symbol):
        """Map -> its values on each of the images."""
        predictor = Predictor(symbol, ['data'], [mx.cpu()], *self.params)
        return list(zip(*[tuple(predictor.predict(batch).values()) for batch in self.images]))


def norm(arrays):
    """Root of the sum of the squares."""
    return float(np.sqrt(sum(np.square(array, dtype=np.float64).sum() for array in arrays)))
