"""A ResNet-50 with random blobs, run by OpenCV as Caffe would run it, against the trunk that it is imported into."""
import cv2
import numpy as np
import pytest

from lib.errors import CheckpointError
from rfcn.importers.caffe_file import load_caffe
from rfcn.importers.fold import RELEASE_MEANS
from rfcn.importers.naming import trunk_layers
from rfcn.importers.sources import from_caffe
from rfcn.symbols.resnet_v1 import RESNET_V1, unit_names

FACTOR = 999.5  # Caffe stores BatchNorm's statistics times this


def varint(number):
    low = number & 127
    return bytes([low | 128]) + varint(number >> 7) if number > 127 else bytes([low])


def field(number, content):
    """A field of bytes in protobuf's wire format."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def blob(array):
    array = np.asarray(array, '<f4')
    return field(7, field(1, b''.join(map(varint, array.shape)))) + field(5, array.tobytes())


def encode(name, kind, blobs):
    """A LayerParameter of a NetParameter."""
    return field(100, field(1, name.encode()) + field(2, kind.encode()) + b''.join(field(7, blob(b)) for b in blobs))


def random_layer(rng, filters, channels, kernel, first):
    """Blobs of convolution, BatchNorm and Scale; the first convolution gets pixels, the others features near 1."""
    std = np.sqrt(2.0 / (channels * kernel ** 2)) / (64 if first else 1)
    weight = rng.normal(0, std, (filters, channels, kernel, kernel))
    statistics = [rng.normal(0, 0.2, filters) * FACTOR, rng.uniform(0.5, 2, filters) * FACTOR, [FACTOR]]
    return ([weight] + first * [rng.normal(0, 0.2, filters)], statistics,
            [rng.uniform(0.3, 0.8, filters), rng.normal(0, 0.2, filters)])


class CaffeNet(object):
    """Collects the text of a prototxt and the bytes of a .caffemodel. A layer's top has its name."""

    def __init__(self, height, width):
        self.rng = np.random.RandomState(0)
        self.text = ['layer { name: "data" type: "Input" top: "data" '
                     'input_param { shape { dim: 1 dim: 3 dim: %d dim: %d } } }' % (height, width)]
        self.model = b''

    def layer(self, name, kind, bottoms, settings='', blobs=()):
        self.text.append('layer { name: "%s" type: "%s" %s top: "%s" %s }' % (
            name, kind, ' '.join('bottom: "%s"' % bottom for bottom in bottoms), name, settings))
        self.model += encode(name, kind, blobs) if len(blobs) else b''
        return name

    def conv_bn(self, name, bottom, filters, channels, kernel, stride, relu=True):
        suffix = '_conv1' if name == 'conv1' else name[3:]
        conv, batch_norm, scale = random_layer(self.rng, filters, channels, kernel, name == 'conv1')
        settings = ('convolution_param { num_output: %d kernel_size: %d pad: %d stride: %d bias_term: %s }'
                    % (filters, kernel, kernel // 2, stride, 'true' if len(conv) > 1 else 'false'))
        top = self.layer(name, 'Convolution', [bottom], settings, conv)
        top = self.layer('bn' + suffix, 'BatchNorm', [top], 'batch_norm_param { use_global_stats: true }', batch_norm)
        top = self.layer('scale' + suffix, 'Scale', [top], 'scale_param { bias_term: true }', scale)
        return self.layer(name + '_relu', 'ReLU', [top]) if relu else top


def resnet50(height, width):
    """The topology of the original ResNet-50: the stride in the first 1x1 of a unit, pool1 without padding."""
    net = CaffeNet(height, width)
    x = net.conv_bn('conv1', 'data', 64, 3, 7, 2)
    x = net.layer('pool1', 'Pooling', [x], 'pooling_param { pool: MAX kernel_size: 3 stride: 2 }')
    channels = 64
    for stage, filters in zip((2, 3, 4, 5), RESNET_V1[50].filters):
        for number, unit in enumerate(unit_names(RESNET_V1[50], stage)):
            stride = 2 if number == 0 and stage > 2 else 1
            name = 'res%s_branch' % unit
            shortcut = net.conv_bn(name + '1', x, filters, channels, 1, stride, relu=False) if number == 0 else x
            x = net.conv_bn(name + '2a', x, filters // 4, channels, 1, stride)
            x = net.conv_bn(name + '2b', x, filters // 4, filters // 4, 3, 1)
            x = net.conv_bn(name + '2c', x, filters, filters // 4, 1, 1, relu=False)
            x = net.layer('res%s_relu' % unit, 'ReLU', [net.layer('res' + unit, 'Eltwise', [shortcut, x])])
            channels = filters
    return net


@pytest.fixture(scope='module')
def caffe(tmp_path_factory, picture):
    """Path of a .caffemodel, and its conv5 of the picture."""
    net = resnet50(*picture.shape[2:])
    path = tmp_path_factory.mktemp('caffe') / 'ResNet-50-model.caffemodel'
    path.write_bytes(net.model)
    opencv = cv2.dnn.readNetFromCaffe(np.frombuffer('\n'.join(net.text).encode(), np.uint8),
                                      np.frombuffer(net.model, np.uint8))
    blue_green_red = (picture - np.reshape(RELEASE_MEANS, (1, 3, 1, 1)))[:, ::-1]
    opencv.setInput(np.ascontiguousarray(blue_green_red, dtype=np.float32))
    return str(path), opencv.forward()


def test_conv5_of_a_caffe_model_is_kept(caffe, picture, trunk_features):
    path, expected = caffe
    source = from_caffe(path)
    assert (source.depth, source.left_out, source.pool1, source.stride_in_3x3) == (50, [], 'ceil', False)
    found = trunk_features(source, picture, RELEASE_MEANS)
    assert found.shape == expected.shape and expected.std() > 0.1
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_statistics_are_divided_by_their_factor_and_conv1_may_have_a_bias(caffe):
    params = load_caffe(caffe[0])
    assert 0.5 <= params['bn_conv1_moving_var'].min() and params['bn_conv1_moving_var'].max() <= 2
    assert params['conv1_bias'].shape == (64,) and 'res2a_branch1_bias' not in params
    assert len([name for name in params if name.endswith('_weight')]) == len(trunk_layers(50))


def test_a_file_that_is_no_caffe_model_is_refused(tmp_path):
    (tmp_path / 'a.caffemodel').write_bytes(b'<html>not found</html>')
    with pytest.raises(CheckpointError, match='a.caffemodel: found no ResNet-v1 .* among its 0 parameters'):
        from_caffe(str(tmp_path / 'a.caffemodel'))


@pytest.mark.parametrize('statistics, message', [
    ([], 'not a Caffe model of convolutions, BatchNorm and Scale that OpenCV can read'),
    ([np.zeros(64), np.ones(64)], 'conv1 expected with three blobs of BatchNorm and two of Scale, found 2 and 0')])
def test_a_convolution_without_batch_norm_or_scale_is_refused(tmp_path, statistics, message):
    (tmp_path / 'a.caffemodel').write_bytes(encode('conv1', 'Convolution', [np.zeros((64, 3, 7, 7))])
                                            + encode('bn_conv1', 'BatchNorm', statistics))
    with pytest.raises(CheckpointError, match=message):
        load_caffe(str(tmp_path / 'a.caffemodel'))
