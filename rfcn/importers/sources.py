"""The four kinds of sources: reads one, finds its trunk and says how it differs from the release's."""
import os
import re
import tempfile
from collections import namedtuple

from lib.errors import CheckpointError
from rfcn.checkpoints.checkpoint import load_arrays
from rfcn.importers.caffe_file import load_caffe
from rfcn.importers.detector import import_detector, is_detector
from rfcn.importers.fold import RELEASE_MEANS, Input
from rfcn.importers.naming import find_trunk
from rfcn.importers.torch_file import load_torch
from rfcn.symbols.resnet_v1 import RESNET_V1

# style's name; depth; layers by the trunk's names; names left out; Input; whether a bottleneck's stride lies in its 3x3
# convolution; kind of pool1
Source = namedtuple('Source', 'style depth layers left_out input stride_in_3x3 pool1')

# 255 times (0.485, 0.456, 0.406) and (0.229, 0.224, 0.225), which stand for pixels of 0 to 1
_IMAGENET = Input('RGB', (123.675, 116.28, 103.53), (58.395, 57.12, 57.375), 1e-5)
_RELEASE = Input('RGB', RELEASE_MEANS, (1, 1, 1), 1e-5)
_CAFFE = _RELEASE._replace(order='BGR')  # the release's means are those of the Caffe models' mean image

_GLUONCV_NAME = re.compile(r'resnet(%s)_v1b?$' % '|'.join(map(str, RESNET_V1)))


def from_torch(path):
    """A state dict of torchvision's resnet18 to resnet152."""
    return _source(load_torch(path), path)


def from_caffe(path):
    """A .caffemodel with the layer names of the original ResNet-50, 101, 152."""
    return _source(load_caffe(path), path)._replace(input=_CAFFE)


def from_mxnet(path):
    """A .params file: saved or exported by GluonCV or MXNet's model zoo, or with the release's names."""
    return _source(load_mxnet(path), path)


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
    from gluoncv import model_zoo  # takes seconds
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
