"""The trunk of another project's ResNet-v1: its layers, found by name, and the arithmetic that makes them ours.

`find_trunk` finds the layers among named parameters, whichever project named them, and tells how deep the network is.
`fold_trunk` turns each convolution with its BatchNorm into the same function in the convention of
`rfcn/symbols/resnet_v1.py`. This is exact, because BatchNorm computes gamma * (y - mean) / sqrt(var + eps) + beta. A
constant that is added to y, such as the convolution's bias or the effect of another mean of the pixels, is subtracted
from `mean` instead. A difference in eps is added to `var`. The order of the channels and a division of the pixels go
into the weights of conv1.
"""
import re
from collections import namedtuple

import numpy as np

from lib.errors import CheckpointError
from rfcn.symbols.resnet_v1 import BN_EPS, RESNET_V1, unit_names

RELEASE_MEANS = (123.15, 115.90, 103.06)  # red, green, blue, of pixels of 0 to 255

# (filters, channels, kh, kw); then (filters,) each, bias may be None
ConvBN = namedtuple('ConvBN', 'weight bias gamma beta mean var')

# How a source sees pixels of 0 to 255: order of channels; (pixel - mean) / std for red, green, blue; BatchNorm's eps.
Input = namedtuple('Input', 'order means stds eps')

# name in the trunk; stage 1 to 4 (0: conv1); unit; number of the convolution in its unit (None: the shortcut's); number
# in its stage, shortcuts counted after their unit; number in its stage without shortcuts
Layer = namedtuple('Layer', 'name stage unit index position body_position')

# name to print; function Layer -> names of convolution and BatchNorm; what stands between these and 'weight', 'bias';
# BatchNorm's gamma, beta, mean, variance; pattern of parameters that the trunk leaves out
Style = namedtuple('Style', 'name bases separator batch_norm left_out')

_BIAS = ConvBN._fields.index('bias')  # which a convolution may be without

_FIRST = re.compile(r'(?:^|(?<=[_.]))(conv0_weight|conv1[._]weight|features\.0\.weight)$')
_GLUON = ('gamma', 'beta', 'running_mean', 'running_var')


def pixel_means(means):
    """Red, green, blue as `network.PIXEL_MEANS` has them: blue, green, red."""
    return [float('%g' % mean) for mean in means[::-1]]


def trunk_layers(depth):
    """The convolutions of the trunk of that depth, each of which a BatchNorm follows."""
    architecture = RESNET_V1[depth]
    layers = [Layer('conv1', 0, 0, 0, 0, 0)]
    for stage in (2, 3, 4, 5):
        position = body_position = 0
        for unit, name in enumerate(unit_names(architecture, stage)):
            for index in range(3 if architecture.bottleneck else 2):
                layers.append(Layer('res%s_branch2%s' % (name, 'abc'[index]), stage - 1, unit, index, position,
                                    body_position))
                position, body_position = position + 1, body_position + 1
            if unit == 0 and (architecture.bottleneck or stage > 2):
                layers.append(Layer('res%s_branch1' % name, stage - 1, unit, None, position, None))
                position += 1
    return layers


def _torchvision(layer):
    if layer.stage == 0:
        return 'conv1', 'bn1'
    unit = 'layer%d.%d.' % (layer.stage, layer.unit)
    if layer.index is None:
        return unit + 'downsample.0', unit + 'downsample.1'
    return unit + 'conv%d' % (layer.index + 1), unit + 'bn%d' % (layer.index + 1)


def _gluon_v1(layer):
    if layer.stage == 0:
        return 'features.0', 'features.1'
    unit = 'features.%d.%d.' % (layer.stage + 3, layer.unit)
    if layer.index is None:
        return unit + 'downsample.0', unit + 'downsample.1'
    return unit + 'body.%d' % (3 * layer.index), unit + 'body.%d' % (3 * layer.index + 1)


def _numbered(scope, number):
    return '%sconv%d' % (scope, number), '%sbatchnorm%d' % (scope, number)


def _exported_v1(layer):
    return _numbered('stage%d_' % layer.stage if layer.stage else '', layer.position)


def _exported_v1b(layer):
    if layer.index is None:
        return _numbered('down%d_' % layer.stage, 0)
    return _numbered('layers%d_' % layer.stage if layer.stage else '', layer.body_position)


def _release(layer):
    return layer.name, 'bn_conv1' if layer.stage == 0 else 'bn' + layer.name[len('res'):]


STYLES = (
    Style('torchvision', _torchvision, '.', ('weight', 'bias', 'running_mean', 'running_var'),
          r'fc\.|.*\.num_batches_tracked$'),
    Style('GluonCV v1b', _torchvision, '.', _GLUON, r'fc\.'),
    Style('GluonCV v1', _gluon_v1, '.', _GLUON, r'output\.'),
    Style('GluonCV v1b, exported', _exported_v1b, '_', _GLUON, r'dense0_'),
    Style('GluonCV v1, exported', _exported_v1, '_', _GLUON, r'dense0_'),
    Style('release', _release, '_', ('gamma', 'beta', 'moving_mean', 'moving_var'), r'(?!res\d|bn\d|bn_conv1|conv1_)'),
)


def find_trunk(params, source):
    """The trunk among the parameters of a network.

    Args:
        params: dict of name -> array.
        source: where they come from, for messages.
    Returns:
        Style, depth, dict of the trunk's layer names to ConvBN, sorted names of what is left out.
    Raises:
        CheckpointError: no ResNet-v1 of 18 to 152 layers, or one with parts that the trunk does not have.
    """
    params = _without_scope(params)
    # The deepest first: the names of a shallow network are some of a deep one's.
    for depth in sorted(RESNET_V1, reverse=True):
        for style in STYLES:
            names = {layer.name: parameter_names(style, layer) for layer in trunk_layers(depth)}
            if all(name in params for of_layer in names.values() for name in of_layer if name != of_layer[_BIAS]):
                rest = sorted(set(params).difference(*names.values()))
                _check_rest(rest, style, depth, source)
                layers = {name: ConvBN(*map(params.get, of_layer)) for name, of_layer in names.items()}
                return style, depth, layers, rest
    raise CheckpointError('%s: found no ResNet-v1 of %s layers, as torchvision, GluonCV (v1, v1b), Caffe or the '
                          'release name them, among its %d parameters (%s). ResNet-v2, v1c, v1d, v1s have another trunk'
                          % (source, ', '.join(map(str, sorted(RESNET_V1))), len(params),
                             ', '.join(sorted(params)[:4]) or 'none'))


def parameter_names(style, layer):
    """The names of a layer's six parameters in a style, in the order of ConvBN."""
    conv, bn = style.bases(layer)
    return ([conv + style.separator + field for field in ('weight', 'bias')]
            + [bn + style.separator + field for field in style.batch_norm])


def _check_rest(rest, style, depth, source):
    foreign = [name for name in rest if not re.match(style.left_out, name)]
    if foreign:
        raise CheckpointError('%s: a ResNet-%d in the manner of %s, but with %d parameters that the trunk has no place '
                              'for, such as %s: another architecture, a deformable one, or a deeper one without some '
                              'of its parameters' % (source, depth, style.name, len(foreign), foreign[0]))


def _without_scope(params):
    """Names without what stands before them all: an exported network's 'resnetv10_', or 'module.' of several GPUs."""
    scope = _FIRST.sub('', min(filter(_FIRST.search, params), key=len, default=''))
    if not scope or not all(name.startswith(scope) for name in params):
        return params
    return {name[len(scope):]: value for name, value in params.items()}


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
