"""The arithmetic of importing: one convolution with its BatchNorm in, the same function in the trunk's convention out.

What makes it exact: BatchNorm computes gamma * (y - mean) / sqrt(var + eps) + beta. A constant added to y, be it the
convolution's bias or what another mean of the pixels amounts to, may as well be taken from `mean`; another eps may be
added to `var`. The order of the channels and a division of the pixels go into the weights of conv1.
"""
from collections import namedtuple

import numpy as np

from rfcn.symbols.resnet_v1 import BN_EPS

RELEASE_MEANS = (123.15, 115.90, 103.06)  # red, green, blue, of pixels of 0 to 255

# (filters, channels, kh, kw); then (filters,) each, bias may be None
ConvBN = namedtuple('ConvBN', 'weight bias gamma beta mean var')

# How a source sees pixels of 0 to 255: order of channels; (pixel - mean) / std for red, green, blue; BatchNorm's eps.
Input = namedtuple('Input', 'order means stds eps')


def fold_trunk(layers, source, means=RELEASE_MEANS):
    """Parameters of the trunk from the layers of a source.

    With the source's own means the result is the same function. With others it is the same wherever conv1's window lies
    inside the image; at the border both pad with zeros, and zero is then another colour: that of each one's mean.

    Args:
        layers: dict of the trunk's layer names ('conv1', 'res2a_branch1', ...) to ConvBN.
        source: Input.
        means: what the trunk's user subtracts from red, green, blue.
    Returns:
        arg_params, aux_params: name -> float32 array.
    """
    arg_params, aux_params = {}, {}
    for name, layer in layers.items():
        layer = fold_layer(fold_input(layer, source, means) if name == 'conv1' else layer, source.eps)
        bn = 'bn_conv1' if name == 'conv1' else 'bn' + name[len('res'):]
        arg_params.update({name + '_weight': layer.weight, bn + '_gamma': layer.gamma, bn + '_beta': layer.beta})
        aux_params.update({bn + '_moving_mean': layer.mean, bn + '_moving_var': layer.var})
    return tuple({name: np.asarray(value, dtype=np.float32) for name, value in params.items()}
                 for params in (arg_params, aux_params))


def fold_layer(layer, eps):
    """Take a bias into BatchNorm's mean and the difference of eps into its variance."""
    mean = np.asarray(layer.mean, dtype=np.float64)
    return layer._replace(bias=None, mean=mean if layer.bias is None else mean - layer.bias,
                          var=np.asarray(layer.var, dtype=np.float64) + (eps - BN_EPS))


def fold_input(conv1, source, means):
    """conv1 for red, green, blue less `means`, from conv1 for (pixel - source.means) / source.stds."""
    weight = np.asarray(conv1.weight, dtype=np.float64)[:, ::1 if source.order == 'RGB' else -1]
    weight = weight / np.reshape(source.stds, (1, 3, 1, 1))
    # sum w (x - source) = sum w (x - means) + sum w (means - source)
    shift = (weight.sum(axis=(2, 3)) * (np.asarray(means) - source.means)).sum(axis=1)
    return conv1._replace(weight=weight, mean=np.asarray(conv1.mean, dtype=np.float64) - shift)
