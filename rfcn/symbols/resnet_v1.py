"""ResNet-v1 trunks, cut into the part up to conv4 (where the RPN sits) and conv5 (where the R-FCN head sits).

Parameter and blob names are those of the release and so of the Caffe model it came from: `res4b22_branch2c_weight`,
`bn4b22_branch2c_gamma`. They are frozen for ever, because checkpoints hold them.
"""
from collections import namedtuple
from string import ascii_lowercase

import mxnet as mx

from lib.errors import ConfigError

BN_EPS = 1e-5
DEFORMABLE_GROUPS = 4
# Pixels of the image per cell of conv4, and of conv5 by network.CONV5.
CONV4_STRIDE = 16
CONV5_STRIDE = {'atrous': 16, 'stride32': 32, 'none': CONV4_STRIDE}

# units of conv2..conv5; filters of their units' last convolution; bottleneck units or basic ones; stem '7x7' (stride 4
# with its pooling) or '3x3' (stride 2); whether BatchNorm keeps the statistics it was given
Architecture = namedtuple('Architecture', 'units filters bottleneck stem frozen_statistics')

_BASIC, _BOTTLENECK = (64, 128, 256, 512), (256, 512, 1024, 2048)
RESNET_V1 = {
    18: Architecture((2, 2, 2, 2), _BASIC, False, '7x7', True),
    34: Architecture((3, 4, 6, 3), _BASIC, False, '7x7', True),
    50: Architecture((3, 4, 6, 3), _BOTTLENECK, True, '7x7', True),
    101: Architecture((3, 4, 23, 3), _BOTTLENECK, True, '7x7', True),
    152: Architecture((3, 8, 36, 3), _BOTTLENECK, True, '7x7', True),
}


def small_architecture(channels, blocks):
    """A narrow trunk of basic units with trainable BatchNorm, for training from scratch.

    `channels`: filters of conv2..conv5.
    """
    return Architecture((blocks,) * 4, tuple(channels), False, '3x3', False)


def unit_names(architecture, stage):
    """Names of a stage's units as in Caffe's models: a, b, c, ...; from 101 layers on conv3 and 4 say a, b1, b2, ..."""
    count = architecture.units[stage - 2]
    if stage in (3, 4) and architecture.units[2] > 6:
        return ['%da' % stage] + ['%db%d' % (stage, i) for i in range(1, count)]
    return ['%d%s' % (stage, letter) for letter in ascii_lowercase[:count]]


class ResNetV1:
    """A trunk: `conv4(data)` at stride 16 and `conv5(conv4)`.

    Args:
        architecture: one of RESNET_V1 or `small_architecture`.
        conv5: 'atrous' (stride 1, its 3x3 convolutions dilated by 2: R-FCN section 2), 'stride32' (the classification
            network's) or 'none' (the head reads conv4 itself): the rows of the paper's table 2.
        deformable: the 3x3 convolutions of conv5 are deformable, as in the release's resnet_v1_101_rfcn_dcn.
        stride_in_3x3: a unit's stride lies in its 3x3 convolution (torchvision, GluonCV's v1b) and not in its first
            1x1 (Caffe).
        pool1: 'ceil', windows from the first pixel, the last one cut (Caffe), or 'padded' (torchvision, GluonCV).
    """

    def __init__(self, architecture, conv5='atrous', deformable=False, stride_in_3x3=False, pool1='ceil'):
        self.architecture = architecture
        self.conv5_kind = conv5
        self.deformable = deformable
        self.stride_in_3x3 = stride_in_3x3
        self.pool1 = pool1

    def conv4(self, data):
        """(B, 3, height, width) -> (B, filters, H, W), stride 16."""
        x = self._stem(data)
        # The 3x3 stem has no pooling layer: conv2 brings the fourth halving instead.
        for stage, stride in ((2, 1 if self.architecture.stem == '7x7' else 2), (3, 2), (4, 2)):
            x = self._stage(x, stage, stride)
        return x

    def conv5(self, conv4):
        """(B, filters, H, W) -> conv5's features at stride 16 or 32, or conv4 itself."""
        if self.conv5_kind == 'none':
            return conv4
        atrous = self.conv5_kind == 'atrous'
        return self._stage(conv4, 5, stride=1 if atrous else 2, dilate=2 if atrous else 1, deformable=self.deformable)

    def _stem(self, data):
        small = self.architecture.stem == '3x3'
        kernel, pad, filters = (3, 1, self.architecture.filters[0]) if small else (7, 3, 64)
        x = mx.sym.Convolution(data, name='conv1', num_filter=filters, kernel=(kernel, kernel), pad=(pad, pad),
                               stride=(2, 2), no_bias=True)
        x = self._batch_norm(x, 'bn_conv1')
        x = mx.sym.Activation(x, name='conv1_relu', act_type='relu')
        if small:
            return x
        pad, convention = (0, 'full') if self.pool1 == 'ceil' else (1, 'valid')
        return mx.sym.Pooling(x, name='pool1', pool_type='max', kernel=(3, 3), stride=(2, 2), pad=(pad, pad),
                              pooling_convention=convention)

    def _stage(self, x, stage, stride, dilate=1, deformable=False):
        filters = self.architecture.filters[stage - 2]
        unit = self._bottleneck if self.architecture.bottleneck else self._basic
        for i, name in enumerate(unit_names(self.architecture, stage)):
            first = i == 0
            project = first and not (stage == 2 and stride == 1 and not self.architecture.bottleneck)
            x = unit(x, name, filters, stride if first else 1, dilate, project, deformable)
        return x

    def _bottleneck(self, x, name, filters, stride, dilate, project, deformable):
        shortcut = self._conv_bn(x, name, 'branch1', filters, 1, stride) if project else x
        stride_1x1, stride_3x3 = (1, stride) if self.stride_in_3x3 else (stride, 1)
        y = self._relu(self._conv_bn(x, name, 'branch2a', filters // 4, 1, stride_1x1), name + '_branch2a')
        y = self._conv_bn(y, name, 'branch2b', filters // 4, 3, stride_3x3, dilate, deformable)
        y = self._conv_bn(self._relu(y, name + '_branch2b'), name, 'branch2c', filters, 1)
        return self._add(shortcut, y, name)

    def _basic(self, x, name, filters, stride, dilate, project, deformable):
        shortcut = self._conv_bn(x, name, 'branch1', filters, 1, stride) if project else x
        y = self._conv_bn(x, name, 'branch2a', filters, 3, stride, dilate)
        y = self._conv_bn(self._relu(y, name + '_branch2a'), name, 'branch2b', filters, 3, 1, dilate, deformable)
        return self._add(shortcut, y, name)

    def _conv_bn(self, x, unit, branch, filters, kernel, stride=1, dilate=1, deformable=False):
        name = 'res%s_%s' % (unit, branch)
        window = dict(kernel=(kernel, kernel), pad=(kernel // 2 * dilate,) * 2, stride=(stride, stride),
                      dilate=(dilate, dilate))
        if deformable:
            # one (dy, dx) for each of the kernel's points and each group
            offset = mx.sym.Convolution(x, name=name + '_offset', num_filter=2 * kernel * kernel * DEFORMABLE_GROUPS,
                                        **window)
            y = mx.sym.contrib.DeformableConvolution(x, offset, name=name, num_filter=filters, no_bias=True,
                                                     num_deformable_group=DEFORMABLE_GROUPS, **window)
        else:
            y = mx.sym.Convolution(x, name=name, num_filter=filters, no_bias=True, **window)
        return self._batch_norm(y, 'bn%s_%s' % (unit, branch))

    def _batch_norm(self, x, name):
        return mx.sym.BatchNorm(x, name=name, use_global_stats=self.architecture.frozen_statistics, fix_gamma=False,
                                eps=BN_EPS)

    @staticmethod
    def _relu(x, unit):
        return mx.sym.Activation(x, name='res%s_relu' % unit, act_type='relu')

    def _add(self, shortcut, residual, unit):
        # Departure: the release's broadcast_add gives the same numbers, but on a CPU it is slow and keeps convolution
        # and sum from being fused.
        return self._relu(mx.sym.elemwise_add(shortcut, residual, name='res' + unit), unit)


def conv5_stride(cfg):
    """Pixels per cell of what the trunk gives as conv5."""
    return CONV5_STRIDE[cfg.network.CONV5]


def check_strides(cfg, rpn, rcnn=None):
    """Compare the strides of the configuration with those of the network.

    Args:
        rpn: pixels per cell of the map that the RPN sits on.
        rcnn: of the map that RoIs are pooled from; None if there is none.
    Raises:
        ConfigError: they differ; boxes would lie in another place than their features.
    """
    for key, stride in (('RPN_FEAT_STRIDE', rpn), ('RCNN_FEAT_STRIDE', rcnn)):
        if stride is not None and cfg.network[key] != stride:
            raise ConfigError('network.%s is %d, but %s with network.CONV5 %s has %d pixels per cell there: write '
                              '%s: %d' % (key, cfg.network[key], cfg.symbol, cfg.network.CONV5, stride, key, stride))
