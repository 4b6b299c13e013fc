"""Source networks with random weights and statistics, and the trunk that they are imported into."""
import collections
import pickle
import sys
import types
import zipfile

import mxnet as mx
import numpy as np
import pytest

from rfcn.import_backbone import trunk_of

HEIGHT, WIDTH = 97, 131  # odd, so that the two kinds of pool1 differ


def random_value(name, shape, rng):
    """Weights that keep the features of a deep network near 1, and statistics that are all different."""
    if len(shape) == 4:
        return rng.normal(0, np.sqrt(2.0 / np.prod(shape[1:])), shape)
    if 'var' in name:
        return rng.uniform(0.5, 2, shape)
    return rng.uniform(0.3, 0.8, shape) if 'gamma' in name else rng.normal(0, 0.2, shape)


@pytest.fixture(scope='session')
def make_net():
    """A function: name in GluonCV's model zoo -> network with random weights, statistics and biases."""
    model_zoo = pytest.importorskip('gluoncv.model_zoo')

    def make(name):
        net, rng = model_zoo.get_model(name, pretrained=False), np.random.RandomState(0)
        net.initialize()
        net(mx.nd.zeros((1, 3, 64, 64)))
        for parameter, value in sorted(net.collect_params().items()):
            value.set_data(mx.nd.array(random_value(parameter, value.shape, rng)))
        return net
    return make


@pytest.fixture(scope='session')
def picture():
    """(1, 3, height, width) float32, red, green, blue from 0 to 255."""
    return np.random.RandomState(1).randint(0, 256, (1, 3, HEIGHT, WIDTH)).astype(np.float32)


def of_channels(values):
    return np.reshape(values, (1, 3, 1, 1)).astype(np.float32)


def stages(net):
    """What follows conv1 up to conv5, in order, and conv1."""
    if hasattr(net, 'features'):
        return net.features[0], [net.features[i] for i in range(1, 8)]
    return net.conv1, [net.bn1, net.relu, net.maxpool, net.layer1, net.layer2, net.layer3, net.layer4]


@pytest.fixture(scope='session')
def net_features():
    """A function (GluonCV network, picture, Input, border) -> its conv5.

    `border`: the colour, red, green, blue from 0 to 255, of what lies outside the picture; None is the source's mean.
    """
    def features(net, picture, source, border=None):
        means, stds = of_channels(source.means), of_channels(source.stds)
        padded = np.zeros((1, 3, HEIGHT + 6, WIDTH + 6), np.float32)
        padded += 0 if border is None else (of_channels(border) - means) / stds
        padded[:, :, 3:-3, 3:-3] = (picture - means) / stds
        conv1, rest = stages(net)
        x = mx.nd.Convolution(mx.nd.array(padded), conv1.weight.data(), no_bias=True, num_filter=64, kernel=(7, 7),
                              stride=(2, 2))
        for block in rest:
            x = block(x)
        return x.asnumpy()
    return features


@pytest.fixture(scope='session')
def trunk_features():
    """A function (Source, picture, means) -> conv5 of the trunk that the source is imported into, at stride 32."""
    def features(source, picture, means):
        graph, arg_params, aux_params = trunk_of(source, means)
        executor = graph.simple_bind(mx.cpu(), grad_req='null', data=picture.shape)
        executor.copy_params_from(arg_params, aux_params)
        return executor.forward(is_train=False, data=mx.nd.array(picture - of_channels(means)))[0].asnumpy()
    return features


class _Storage:
    def __init__(self, kind, key, array):
        self.kind, self.key, self.array = kind, key, array


class _Tensor:
    def __init__(self, rebuild, *arguments):
        self.reduced = rebuild, arguments + (False, collections.OrderedDict())

    def __reduce__(self):
        return self.reduced


class _Pickler(pickle.Pickler):
    def persistent_id(self, value):
        if isinstance(value, _Storage):
            return ('storage', value.kind, value.key, 'cpu', value.array.size) + self.legacy * (None,)


def _stand_ins():
    """As much of the modules torch and torch._utils as pickle needs to write their names."""
    modules = {name: types.ModuleType(name) for name in ('torch', 'torch._utils')}
    modules['torch'].FloatStorage = type('FloatStorage', (), {'__module__': 'torch'})
    modules['torch.nn'] = types.ModuleType('torch.nn')
    modules['torch.nn'].Linear = type('Linear', (), {'__module__': 'torch.nn'})
    exec('def _rebuild_tensor_v2(*arguments): pass', {'__name__': 'torch._utils'}, vars(modules['torch._utils']))
    return modules


@pytest.fixture
def write_torch(monkeypatch):
    """A function (path, name -> float32 array, ...) that writes what torch.save writes.

    legacy: the format from before PyTorch 1.6. wrap: what to make of the dict of tensors, given a stand-in of torch.nn.
    """
    def write(path, arrays, legacy=False, wrap=lambda tensors, nn: tensors):
        modules = _stand_ins()
        with monkeypatch.context() as patch:
            for name, module in modules.items():
                patch.setitem(sys.modules, name, module)
            storages, tensors = [], collections.OrderedDict()
            for number, (name, array) in enumerate(arrays.items()):
                base = array if array.base is None else array.base  # a view points into its base's storage
                storages.append(_Storage(modules['torch'].FloatStorage, str(number), base))
                offset = (array.__array_interface__['data'][0] - base.__array_interface__['data'][0]) // 4
                tensors[name] = _Tensor(modules['torch._utils']._rebuild_tensor_v2, storages[-1], offset, array.shape,
                                        tuple(stride // 4 for stride in array.strides))
            (_write_legacy if legacy else _write_zip)(path, wrap(tensors, modules['torch.nn']), storages)
    return write


def _pickle(file, value, legacy=False):
    pickler = _Pickler(file, protocol=2)
    pickler.legacy = legacy
    pickler.dump(value)


def _write_zip(path, value, storages):
    with zipfile.ZipFile(str(path), 'w') as archive:
        with archive.open('archive/data.pkl', 'w') as file:
            _pickle(file, value)
        archive.writestr('archive/byteorder', 'little')
        for storage in storages:
            archive.writestr('archive/data/' + storage.key, storage.array.tobytes())


def _write_legacy(path, value, storages):
    with open(str(path), 'wb') as file:
        keys = [storage.key for storage in storages]
        for item in (0x1950a86a20f9469cfc6c, 1001, {'little_endian': True}, value, keys):
            _pickle(file, item, legacy=True)
        for storage in storages:
            file.write(np.int64(storage.array.size).tobytes() + storage.array.tobytes())
