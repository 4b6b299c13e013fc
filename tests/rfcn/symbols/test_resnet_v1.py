"""The trunks: names, shapes, strides and dilation."""
import json

import mxnet as mx
import pytest

from rfcn.symbols.resnet_v1 import RESNET_V1, ResNetV1, small_architecture, unit_names

SMALL = small_architecture((4, 8, 8, 16), 1)


def conv5_of(architecture, *args, **kwargs):
    trunk = ResNetV1(architecture, *args, **kwargs)
    return trunk.conv5(trunk.conv4(mx.sym.Variable('data')))


def output_shape(symbol, *size):
    return symbol.infer_shape(data=(2, 3) + size)[1][0]


def attributes(symbol, layer):
    return symbol.attr_dict()[layer]


@pytest.mark.parametrize('depth', sorted(RESNET_V1))
def test_a_trunk_has_as_many_convolutions_as_its_name_says_less_the_classifier(depth):
    weights = [name for name in conv5_of(RESNET_V1[depth]).list_arguments() if name.endswith('_weight')]
    assert len([name for name in weights if 'branch1' not in name]) == depth - 1


@pytest.mark.parametrize('depth, stage, expected', [
    (18, 2, ['2a', '2b']),
    (34, 4, ['4a', '4b', '4c', '4d', '4e', '4f']),
    (50, 4, ['4a', '4b', '4c', '4d', '4e', '4f']),
    (101, 3, ['3a', '3b1', '3b2', '3b3']),
    (101, 4, ['4a'] + ['4b%d' % i for i in range(1, 23)]),
    (101, 5, ['5a', '5b', '5c']),
    (152, 3, ['3a'] + ['3b%d' % i for i in range(1, 8)]),
    (152, 4, ['4a'] + ['4b%d' % i for i in range(1, 36)]),
])
def test_units_are_named_as_in_caffes_models(depth, stage, expected):
    assert unit_names(RESNET_V1[depth], stage) == expected


def test_the_parameters_of_a_bottleneck_unit_have_the_names_and_shapes_of_the_release():
    symbol = conv5_of(RESNET_V1[101])
    shapes = dict(zip(symbol.list_arguments(), symbol.infer_shape(data=(1, 3, 64, 64))[0]))
    assert shapes['conv1_weight'] == (64, 3, 7, 7) and shapes['bn_conv1_gamma'] == (64,)
    assert shapes['res4a_branch1_weight'] == (1024, 512, 1, 1)
    assert shapes['res4b22_branch2a_weight'] == (256, 1024, 1, 1)
    assert shapes['res4b22_branch2b_weight'] == (256, 256, 3, 3)
    assert shapes['res4b22_branch2c_weight'] == (1024, 256, 1, 1)
    assert shapes['bn5c_branch2c_beta'] == (2048,)
    assert 'res4b1_branch1_weight' not in shapes  # the first unit of a stage alone projects its shortcut


def test_basic_units_project_their_shortcut_where_its_shape_changes():
    weights = conv5_of(RESNET_V1[18]).list_arguments()
    assert [name for name in weights if 'branch1_weight' in name] == ['res3a_branch1_weight', 'res4a_branch1_weight',
                                                                      'res5a_branch1_weight']
    # The small trunk's conv2 halves the size, so that its shortcut is projected as well.
    assert 'res2a_branch1_weight' in conv5_of(SMALL).list_arguments()


@pytest.mark.parametrize('architecture, channels', [(RESNET_V1[18], (256, 512)), (RESNET_V1[50], (1024, 2048)),
                                                    (SMALL, (8, 16))])
@pytest.mark.parametrize('conv5, cells', [('atrous', (4, 6)), ('stride32', (2, 3))])
def test_conv4_is_at_stride_16_and_conv5_at_16_or_32(architecture, channels, conv5, cells):
    trunk = ResNetV1(architecture, conv5)
    conv4 = trunk.conv4(mx.sym.Variable('data'))
    assert output_shape(conv4, 64, 96) == (2, channels[0], 4, 6)
    assert output_shape(trunk.conv5(conv4), 64, 96) == (2, channels[1]) + cells


def test_without_conv5_the_head_reads_conv4():
    trunk = ResNetV1(SMALL, 'none')
    conv4 = trunk.conv4(mx.sym.Variable('data'))
    assert trunk.conv5(conv4) is conv4


def test_cells_at_the_border_count_where_the_image_is_no_multiple_of_the_stride():
    # 600 x 1000: conv1 300 x 500, pool1 150 x 250, conv3 75 x 125, conv4 38 x 63
    assert output_shape(ResNetV1(RESNET_V1[50]).conv4(mx.sym.Variable('data')), 600, 1000)[2:] == (38, 63)
    # 60 x 90: conv1 30 x 45, conv2 15 x 23, conv3 8 x 12, conv4 4 x 6
    assert output_shape(ResNetV1(SMALL).conv4(mx.sym.Variable('data')), 60, 90)[2:] == (4, 6)


def test_a_trous_conv5_dilates_every_3x3_convolution_and_no_other():
    symbol = conv5_of(RESNET_V1[50], 'atrous')
    for unit in '5a', '5b', '5c':
        window = attributes(symbol, 'res%s_branch2b' % unit)
        assert (window['dilate'], window['pad'], window['stride']) == ('(2, 2)', '(2, 2)', '(1, 1)')
        assert attributes(symbol, 'res%s_branch2a' % unit)['dilate'] == '(1, 1)'
    assert attributes(symbol, 'res4f_branch2b')['dilate'] == '(1, 1)'
    assert attributes(conv5_of(RESNET_V1[50], 'stride32'), 'res5a_branch2b')['dilate'] == '(1, 1)'


@pytest.mark.parametrize('stride_in_3x3, strides', [(False, ['(2, 2)', '(1, 1)']), (True, ['(1, 1)', '(2, 2)'])])
def test_the_stride_lies_in_the_first_convolution_or_in_the_3x3_one(stride_in_3x3, strides):
    symbol = conv5_of(RESNET_V1[50], stride_in_3x3=stride_in_3x3)
    assert [attributes(symbol, layer)['stride'] for layer in ('res3a_branch2a', 'res3a_branch2b')] == strides


def test_statistics_are_frozen_in_pretrained_trunks_and_trained_in_the_small_one():
    assert attributes(conv5_of(RESNET_V1[50]), 'bn4a_branch2a')['use_global_stats'] == 'True'
    assert attributes(conv5_of(SMALL), 'bn4a_branch2a')['use_global_stats'] == 'False'


@pytest.mark.parametrize('depth, layers', [(18, ['res5a_branch2b', 'res5b_branch2b']),
                                           (50, ['res5a_branch2b', 'res5b_branch2b', 'res5c_branch2b'])])
def test_a_deformable_conv5_has_offsets_for_each_point_of_its_kernels(depth, layers):
    symbol = conv5_of(RESNET_V1[depth], deformable=True)
    shapes = dict(zip(symbol.list_arguments(), symbol.infer_shape(data=(1, 3, 64, 64))[0]))
    offsets = [name for name in shapes if name.endswith('_offset_weight')]
    assert offsets == [layer + '_offset_weight' for layer in layers]
    assert all(shapes[name][0] == 72 for name in offsets)  # dx and dy of 9 points in 4 groups
    operators = {node['name']: node['op'] for node in json.loads(symbol.tojson())['nodes']}
    assert all(operators[layer] == '_contrib_DeformableConvolution' for layer in layers)
