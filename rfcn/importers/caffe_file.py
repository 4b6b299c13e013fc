"""Reads a .caffemodel with OpenCV, which matches layers by name: its own prototxt is not needed."""
import cv2
import numpy as np

from lib.errors import CheckpointError
from lib.utils.limits import open_input
from rfcn.importers.naming import trunk_layers
from rfcn.symbols.resnet_v1 import RESNET_V1

_INPUT = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }'
# Each layer stands alone after the input: only its blobs are read, nothing is computed.
_LAYER = 'layer { name: "%s" type: "%s" bottom: "data" top: "%s" %s }'
# The layers of an R-FCN that no BatchNorm follows -> this project's name for them.
HEADS = dict({name: name for name in ('rpn_cls_score', 'rpn_bbox_pred', 'conv_new_1', 'rfcn_cls', 'rfcn_bbox')},
             **{'rpn_conv/3x3': 'rpn_conv_3x3'})
_SETTINGS = {'Convolution': 'convolution_param { num_output: 1 kernel_size: 1 }', 'BatchNorm': '',
             'Scale': 'scale_param { bias_term: true }'}


def load_caffe(path):
    """The parameters of Caffe's ResNet (conv1, bn_conv1, scale_conv1, res2a_branch1, ...) by the release's names.

    Of an R-FCN the RPN and the head as well.

    Returns:
        dict of name -> array; BatchNorm's sums are divided by their scale factor.
    Raises:
        FileNotFoundError: no such file.
        CheckpointError: OpenCV cannot read it, or a layer has other blobs than Caffe's.
    """
    names = sorted({layer.name for depth in RESNET_V1 for layer in trunk_layers(depth)})
    with open_input(path) as file:
        model = np.frombuffer(file.read(), dtype=np.uint8)
    try:
        # A convolution may be without blobs, a BatchNorm may not: so see first which layers there are.
        convolutions = _blobs(model, dict.fromkeys(names + list(HEADS), 'Convolution'))
        blobs = _blobs(model, {layer: kind for name in names if convolutions[name]
                               for layer, kind in zip(_layers(name), _SETTINGS)})
    except cv2.error as error:
        raise CheckpointError('%s: not a Caffe model of convolutions, BatchNorm and Scale that OpenCV can read (%s)'
                              % (path, str(error).strip())) from None
    params = {}
    for name in names:
        if convolutions[name]:
            params.update(_params(name, *[blobs[layer] for layer in _layers(name)], path))
    for layer, name in HEADS.items():
        params.update({name + end: blob if end == '_weight' else blob.ravel()
                       for end, blob in zip(('_weight', '_bias'), convolutions[layer])})
    return params


def _blobs(model, kinds):
    """Layer name -> list of arrays, for layer names with their kinds."""
    lines = [_INPUT] + [_LAYER % (layer, kind, layer, _SETTINGS[kind]) for layer, kind in kinds.items()]
    net = cv2.dnn.readNetFromCaffe(np.frombuffer('\n'.join(lines).encode('ascii'), dtype=np.uint8), model)
    return {layer: net.getLayer(layer).blobs for layer in kinds}


def _layers(name):
    """Names of convolution, BatchNorm and Scale."""
    suffix = '_conv1' if name == 'conv1' else name[len('res'):]
    return name, 'bn' + suffix, 'scale' + suffix


def _params(name, conv, batch_norm, scale, path):
    if len(batch_norm) != 3 or len(scale) != 2:
        raise CheckpointError('%s: %s expected with three blobs of BatchNorm and two of Scale, found %d and %d'
                              % (path, name, len(batch_norm), len(scale)))
    mean, var, factor = [blob.ravel() for blob in batch_norm]
    normaliser = 1.0 / factor[0] if factor[0] else 0.0
    bn = _layers(name)[1]
    params = {name + '_weight': conv[0], bn + '_gamma': scale[0].ravel(), bn + '_beta': scale[1].ravel(),
              bn + '_moving_mean': mean * normaliser, bn + '_moving_var': var * normaliser}
    if len(conv) > 1:
        params[name + '_bias'] = conv[1].ravel()
    return params
