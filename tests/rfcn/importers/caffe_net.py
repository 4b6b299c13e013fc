"""Writes a .caffemodel and its prototxt, as Caffe would, for tests to read."""
import numpy as np

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


class CaffeNet:
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

    def conv(self, name, bottom, filters, channels, kernel=1, std=None):
        """A convolution with a bias and nothing behind it."""
        std = std or np.sqrt(2.0 / (channels * kernel ** 2))
        blobs = [self.rng.normal(0, std, (filters, channels, kernel, kernel)), self.rng.normal(0, 0.2, filters)]
        settings = 'convolution_param { num_output: %d kernel_size: %d pad: %d }' % (filters, kernel, kernel // 2)
        return self.layer(name, 'Convolution', [bottom], settings, blobs)

    def conv_bn(self, name, bottom, filters, channels, kernel, stride, relu=True, dilation=1):
        suffix = '_conv1' if name == 'conv1' else name[3:]
        conv, batch_norm, scale = random_layer(self.rng, filters, channels, kernel, name == 'conv1')
        settings = ('convolution_param { num_output: %d kernel_size: %d pad: %d stride: %d dilation: %d bias_term: %s }'
                    % (filters, kernel, kernel // 2 * dilation, stride, dilation, str(len(conv) > 1).lower()))
        top = self.layer(name, 'Convolution', [bottom], settings, conv)
        top = self.layer('bn' + suffix, 'BatchNorm', [top], 'batch_norm_param { use_global_stats: true }', batch_norm)
        top = self.layer('scale' + suffix, 'Scale', [top], 'scale_param { bias_term: true }', scale)
        return self.layer(name + '_relu', 'ReLU', [top]) if relu else top


def resnet50(height, width, atrous=False):
    """The topology of the original ResNet-50: the stride in the first 1x1 of a unit, pool1 without padding.

    `atrous`: conv5 at stride 16, its 3x3 convolutions dilated, as in R-FCN.
    """
    net = CaffeNet(height, width)
    x = net.conv_bn('conv1', 'data', 64, 3, 7, 2)
    x = net.layer('pool1', 'Pooling', [x], 'pooling_param { pool: MAX kernel_size: 3 stride: 2 }')
    channels = 64
    for stage, filters in zip((2, 3, 4, 5), RESNET_V1[50].filters):
        for number, unit in enumerate(unit_names(RESNET_V1[50], stage)):
            stride = 2 if number == 0 and stage > 2 and not (atrous and stage == 5) else 1
            name = 'res%s_branch' % unit
            shortcut = net.conv_bn(name + '1', x, filters, channels, 1, stride, relu=False) if number == 0 else x
            x = net.conv_bn(name + '2a', x, filters // 4, channels, 1, stride)
            dilation = 2 if atrous and stage == 5 else 1
            x = net.conv_bn(name + '2b', x, filters // 4, filters // 4, 3, 1, dilation=dilation)
            x = net.conv_bn(name + '2c', x, filters, filters // 4, 1, 1, relu=False)
            x = net.layer('res%s_relu' % unit, 'ReLU', [net.layer('res' + unit, 'Eltwise', [shortcut, x])])
            channels = filters
    return net


def rfcn(height, width, classes=3, bins=3, anchors=9, box_sets=2, with_rpn=True):
    """py-R-FCN's detector on a ResNet-50 up to its score maps; `classes` with the background.

    Returns:
        CaffeNet; its blobs have the names of the layers.
    """
    net = resnet50(height, width, atrous=True)
    if with_rpn:
        net.layer('rpn_relu/3x3', 'ReLU', [net.conv('rpn_conv/3x3', 'res4f_relu', 64, 1024, 3)])
        net.conv('rpn_cls_score', 'rpn_relu/3x3', 2 * anchors, 64, std=0.05)
        net.conv('rpn_bbox_pred', 'rpn_relu/3x3', 4 * anchors, 64, std=0.02)
    net.layer('conv_new_1_relu', 'ReLU', [net.conv('conv_new_1', 'res5c_relu', 96, 2048)])
    net.conv('rfcn_cls', 'conv_new_1_relu', bins * bins * classes, 96)
    net.conv('rfcn_bbox', 'conv_new_1_relu', bins * bins * 4 * box_sets, 96)
    return net
