"""The four kinds of sources: reads one, finds its trunk and says how it differs from the release's.

OpenCV reads a .caffemodel; it matches layers by name, so that the model's own prototxt is not needed.
"""
import os
import re
import tempfile
from collections import namedtuple

import cv2
import numpy as np

from lib.errors import CheckpointError, UserError
from lib.utils.limits import open_input
from rfcn.checkpoints.checkpoint import load_arrays
from rfcn.checkpoints.identity import backbone_settings
from rfcn.importers.detector import HEADS, import_detector, is_detector
from rfcn.importers.torch_file import load_torch
from rfcn.importers.trunk import RELEASE_MEANS, Input, find_trunk, trunk_layers
from rfcn.symbols.resnet_v1 import RESNET_V1

# style's name; depth; layers by the trunk's names; names left out; Input; whether a bottleneck's stride lies in its 3x3
# convolution; kind of pool1
Source = namedtuple('Source', 'style depth layers left_out input stride_in_3x3 pool1')

# 255 times (0.485, 0.456, 0.406) and (0.229, 0.224, 0.225), which stand for pixels of 0 to 1
_IMAGENET = Input('RGB', (123.675, 116.28, 103.53), (58.395, 57.12, 57.375), 1e-5)
_RELEASE = Input('RGB', RELEASE_MEANS, (1, 1, 1), 1e-5)
_CAFFE = _RELEASE._replace(order='BGR')  # the release's means are those of the Caffe models' mean image

_GLUONCV_NAME = re.compile(r'resnet(%s)_v1b?$' % '|'.join(map(str, RESNET_V1)))
_INPUT = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }'
# Each layer stands alone after the input: only its blobs are read, nothing is computed.
_LAYER = 'layer { name: "%s" type: "%s" bottom: "data" top: "%s" %s }'
# The layers of an R-FCN that no BatchNorm follows -> this project's name for them.
CAFFE_HEADS = {name.replace('conv_3x3', 'conv/3x3'): name for name in HEADS}
_SETTINGS = {'Convolution': 'convolution_param { num_output: 1 kernel_size: 1 }', 'BatchNorm': '',
             'Scale': 'scale_param { bias_term: true }'}


def from_torch(path):
    """A state dict of torchvision's resnet18 to resnet152."""
    return _source(load_torch(path), path)


def from_caffe(path):
    """A .caffemodel with the layer names of the original ResNet-50, 101, 152."""
    return _source(load_caffe(path), path)._replace(input=_CAFFE)


def from_mxnet(path):
    """A .params file: saved or exported by GluonCV or MXNet's model zoo, or with the release's names.

    Of a file that was imported before, the note beside it tells what the names do not.
    """
    source, noted = _source(load_mxnet(path), path), backbone_settings(path)
    if 'network.PIXEL_MEANS' in noted:      # blue first
        source = source._replace(input=source.input._replace(means=tuple(noted['network.PIXEL_MEANS'][::-1])))
    return source._replace(pool1=noted.get('network.POOL1', source.pool1),
                           stride_in_3x3=noted.get('network.STRIDE_IN_3X3', source.stride_in_3x3))


def load_mxnet(path):
    """Name -> array of a .params file."""
    return {re.sub('^(arg|aux):', '', name): value.asnumpy() for name, value in load_arrays(path).items()}


def detector_in(kind, path, classes=()):
    """The R-FCN that a file of Caffe or MXNet holds, or None where it holds a classifier.

    Args:
        kind: 'caffe', 'mxnet' or another, which has no detectors. classes: see `import_detector`.
    Returns:
        `rfcn.importers.detector.ImportedDetector`.
    """
    load, source_input = {'caffe': (load_caffe, _CAFFE), 'mxnet': (load_mxnet, _RELEASE)}.get(kind, (None, None))
    params = load(path) if load else {}
    return import_detector(params, source_input, path, classes) if is_detector(params) else None


def from_gluoncv(name):
    """A network of GluonCV's model zoo, downloaded if it is not in ~/.mxnet/models: resnet50_v1, resnet50_v1b, ..."""
    if not _GLUONCV_NAME.match(name):
        raise CheckpointError("GluonCV's %s cannot be imported; resnet{%s}_v1 and _v1b can"
                              % (name, ','.join(map(str, sorted(RESNET_V1)))))
    try:
        from gluoncv import model_zoo  # takes seconds
    except ModuleNotFoundError as error:
        raise UserError('--gluoncv takes the package %s, which is not installed: pip install %s'
                        % (error.name, error.name)) from None
    try:
        net = model_zoo.get_model(name, pretrained=True)
    except Exception as error:  # of requests, of the lock, of the check of the sum
        raise CheckpointError("GluonCV's %s could not be downloaded (%s). Without a connection, get the file elsewhere "
                              'and put it into ~/.mxnet/models, or import it with --mxnet, --torch or --caffe'
                              % (name, error)) from None
    return from_block(net, name)


def from_block(net, name):
    """A network of GluonCV in memory."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, name + '.params')
        net.save_parameters(path)  # under the names of the structure, which do not depend on what else was made
        return from_mxnet(path)


def _source(params, path):
    style, depth, layers, left_out = find_trunk(params, path)
    if style.name == 'release':
        return Source(style.name, depth, layers, left_out, _RELEASE, False, 'ceil')
    in_3x3 = RESNET_V1[depth].bottleneck and style.name.startswith(('torchvision', 'GluonCV v1b'))
    return Source(style.name, depth, layers, left_out, _IMAGENET, in_3x3, 'padded')


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
        convolutions = _blobs(model, dict.fromkeys(names + list(CAFFE_HEADS), 'Convolution'))
        blobs = _blobs(model, {layer: kind for name in names if convolutions[name]
                               for layer, kind in zip(_layers(name), _SETTINGS)})
    except cv2.error as error:
        raise CheckpointError('%s: not a Caffe model of convolutions, BatchNorm and Scale that OpenCV can read (%s)'
                              % (path, str(error).strip())) from None
    params = {}
    for name in names:
        if convolutions[name]:
            params.update(_params(name, *[blobs[layer] for layer in _layers(name)], path))
    for layer, name in CAFFE_HEADS.items():
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
