"""Whole networks: built with random weights and statistics, imported, and compared in conv5."""
import functools
import sys

import cv2
import mxnet as mx
import numpy as np
import pytest

from lib.errors import CheckpointError, UserError
from rfcn import import_backbone
from rfcn.checkpoints.checkpoint import load_params
from rfcn.checkpoints.identity import backbone_settings
from rfcn.config.config import load_config
from rfcn.importers.sources import from_block, from_caffe, from_gluoncv, from_mxnet, from_torch, load_caffe
from rfcn.importers.trunk import RELEASE_MEANS, trunk_layers
from rfcn.symbols import make_symbol
from tests.rfcn.importers.caffe_net import encode, resnet50

IMAGENET_MEANS = (123.675, 116.28, 103.53)  # 255 times 0.485, 0.456, 0.406


@pytest.fixture(scope='module')
def nets(make_net):
    """A function: name -> network, made once."""
    return functools.lru_cache(maxsize=None)(make_net)


def as_torchvision(net):
    """The arrays of a GluonCV v1b network, which is torchvision's, under torchvision's names."""
    fields = {'gamma': 'weight', 'beta': 'bias'}
    arrays = {}
    for name, value in net._collect_params_with_prefix().items():
        layer, _, field = name.rpartition('.')
        arrays['%s.%s' % (layer, fields.get(field, field))] = value.data().asnumpy()
    return dict(arrays, **{'bn1.num_batches_tracked': np.array(5, np.float32)})


@pytest.mark.parametrize('name, depth, in_3x3', [('resnet18_v1', 18, False), ('resnet50_v1', 50, False),
                                                 ('resnet50_v1b', 50, True)])
def test_conv5_of_a_gluoncv_network_is_kept(nets, name, depth, in_3x3, picture, net_features, trunk_features):
    source = from_block(nets(name), name)
    assert (source.depth, source.stride_in_3x3, source.pool1) == (depth, in_3x3, 'padded')
    assert any(layer.bias is not None for layer in source.layers.values()) == (name == 'resnet50_v1')
    expected = net_features(nets(name), picture, source.input)
    assert expected.std() > 0.1
    np.testing.assert_allclose(trunk_features(source, picture, source.input.means), expected, atol=1e-4)


def test_with_the_releases_means_only_the_colour_outside_the_picture_differs(
        nets, picture, net_features, trunk_features):
    source = from_block(nets('resnet18_v1'), 'resnet18_v1')
    found = trunk_features(source, picture, RELEASE_MEANS)
    framed = net_features(nets('resnet18_v1'), picture, source.input, border=RELEASE_MEANS)
    np.testing.assert_allclose(found, framed, atol=1e-4)
    # Zero padding of the source is another colour, half a grey level away. Here that is felt in the third decimal.
    difference = np.abs(found - net_features(nets('resnet18_v1'), picture, source.input))
    assert 1e-4 < difference.max() < 1e-2


@pytest.mark.parametrize('name', ['resnet18_v1b', 'resnet50_v1b'])
def test_conv5_of_a_torchvision_file_is_kept(nets, name, tmp_path, write_torch, picture, net_features, trunk_features):
    path = tmp_path / 'resnet.pth'
    write_torch(path, as_torchvision(nets(name)))
    source = from_torch(str(path))
    assert (source.style, source.left_out) == ('torchvision', ['bn1.num_batches_tracked', 'fc.bias', 'fc.weight'])
    assert source.stride_in_3x3 == (name == 'resnet50_v1b')  # basic units have no 1x1 but the shortcut's
    expected = net_features(nets(name), picture, source.input)
    np.testing.assert_allclose(trunk_features(source, picture, IMAGENET_MEANS), expected, atol=1e-4)


@pytest.mark.parametrize('name, style', [('resnet50_v1', 'GluonCV v1, exported'),
                                         ('resnet50_v1b', 'GluonCV v1b, exported')])
def test_an_exported_network_gives_the_same_layers(nets, name, style, tmp_path):
    net = nets(name)
    net.hybridize()
    net(mx.nd.zeros((1, 3, 64, 64)))
    net.export(str(tmp_path / 'net'))
    source, expected = from_mxnet(str(tmp_path / 'net-0000.params')), from_block(net, name)
    net.hybridize(False)
    assert source.style == style and source._replace(layers=None, style=None, left_out=None) == expected._replace(
        layers=None, style=None, left_out=None)
    for layer, arrays in expected.layers.items():
        for array, other in zip(arrays, source.layers[layer]):
            np.testing.assert_array_equal(array, other)


def test_the_script_writes_a_file_that_fits_and_prints_the_keys_to_set(nets, tmp_path, write_torch, capsys):
    write_torch(tmp_path / 'resnet.pth', as_torchvision(nets('resnet50_v1b')))
    output = tmp_path / 'new' / 'folder'
    import_backbone.main(['--torch', str(tmp_path / 'resnet.pth'), '--output', str(output)])
    arg_params, aux_params = load_params(str(output / 'resnet_v1_50-0000.params'))
    assert len(arg_params) == 53 * 3 and len(aux_params) == 53 * 2
    printed = capsys.readouterr().out
    for expected in ('53 convolutions', 'left out: bn1.num_batches_tracked, fc.bias, fc.weight (3 in all)',
                     'PIXEL_MEANS: [103.06, 115.9, 123.15]', 'STRIDE_IN_3X3: true', 'POOL1: padded', 'grey level',
                     'STRIDE_IN_3X3 and POOL1: as in the source, not as in the release'):
        assert expected in printed
    based = output / 'based.yaml'
    based.write_text('BASE: resnet_v1_50-0000.yaml')
    network = load_config(str(based)).network
    assert (network.STRIDE_IN_3X3, network.POOL1, network.PIXEL_MEANS) == (True, 'padded', (103.06, 115.9, 123.15))


def test_what_was_written_is_read_again_unchanged(nets, tmp_path, capsys):
    nets('resnet18_v1').save_parameters(str(tmp_path / 'net.params'))
    for arguments in (['--mxnet', str(tmp_path / 'net.params'), '--output', str(tmp_path / 'a')],
                      ['--mxnet', str(tmp_path / 'a' / 'resnet_v1_18-0000.params'), '--output', str(tmp_path / 'b')]):
        import_backbone.main(arguments + ['--means', 'source'])
    first, second = [load_params(str(tmp_path / folder / 'resnet_v1_18-0000.params')) for folder in 'ab']
    notes = [backbone_settings(tmp_path / folder / 'resnet_v1_18-0000.params') for folder in 'ab']
    assert notes[0]['network.POOL1'] == notes[1]['network.POOL1'] == 'padded'
    assert notes[0]['network.PIXEL_MEANS'] == [103.53, 116.28, 123.675]
    for params, others in zip(first, second):
        assert set(params) == set(others)
        for name in params:
            np.testing.assert_allclose(params[name].asnumpy(), others[name].asnumpy(), rtol=1e-6)
    assert 'from the names of release\nleft out: nothing (0 in all)' in capsys.readouterr().out


def test_a_note_that_somebody_wrote_need_not_have_all(nets, tmp_path):
    nets('resnet18_v1').save_parameters(str(tmp_path / 'net.params'))
    alone = from_mxnet(str(tmp_path / 'net.params'))
    (tmp_path / 'net.yaml').write_text('network: {PIXEL_MEANS: [1, 2, 3]}\nseed: 7\n')
    source = from_mxnet(str(tmp_path / 'net.params'))
    assert source.input == alone.input._replace(means=(3, 2, 1))
    assert (source.pool1, source.stride_in_3x3) == (alone.pool1, alone.stride_in_3x3)


def test_a_backbone_is_not_replaced_by_what_is_made_of_it(nets, tmp_path):
    path = tmp_path / 'resnet_v1_18-0000.params'        # as the release calls its own
    nets('resnet18_v1').save_parameters(str(path))
    before = path.read_bytes()
    with pytest.raises(UserError, match='resnet_v1_18-0000.params: this file is read, and what is written would'):
        import_backbone.main(['--mxnet', str(path), '--output', str(tmp_path)])
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_another_backbone_is_not_replaced_and_the_same_one_may_be_imported_again(nets, tmp_path):
    nets('resnet18_v1').save_parameters(str(tmp_path / 'net.params'))
    arguments = ['--mxnet', str(tmp_path / 'net.params'), '--output', str(tmp_path / 'out')]
    import_backbone.main(arguments)
    import_backbone.main(arguments)
    before = {path.name: path.read_bytes() for path in (tmp_path / 'out').iterdir()}
    with pytest.raises(UserError, match='resnet_v1_18-0000.params: another backbone is there, .* --output FOLDER'):
        import_backbone.main(arguments + ['--means', 'source'])
    assert {path.name: path.read_bytes() for path in (tmp_path / 'out').iterdir()} == before


def test_the_sources_own_means_are_printed_if_asked_for(nets, tmp_path, capsys):
    nets('resnet18_v1').save_parameters(str(tmp_path / 'net.params'))
    arguments = ['--mxnet', str(tmp_path / 'net.params'), '--means', 'source', '--output', str(tmp_path)]
    import_backbone.main(arguments)
    printed = capsys.readouterr().out
    assert 'PIXEL_MEANS: [103.53, 116.28, 123.675]' in printed and 'grey level' not in printed


def test_a_network_of_gluoncvs_zoo_is_asked_for_with_its_weights(nets, monkeypatch):
    from gluoncv import model_zoo
    asked = []
    monkeypatch.setattr(model_zoo, 'get_model', lambda name, **options: asked.append((name, options)) or nets(name))
    assert from_gluoncv('resnet18_v1').depth == 18
    assert asked == [('resnet18_v1', {'pretrained': True})]


def test_without_a_connection_it_is_said_what_else_to_do(monkeypatch, tmp_path):
    pytest.importorskip('gluoncv')
    monkeypatch.setenv('MXNET_HOME', str(tmp_path))
    monkeypatch.setenv('MXNET_GLUON_REPO', 'http://127.0.0.1:9/')  # nobody listens there
    message = "GluonCV's resnet50_v1 could not be downloaded .*--mxnet, --torch or --caffe"
    with pytest.raises(CheckpointError, match=message):
        from_gluoncv('resnet50_v1')


@pytest.mark.parametrize('name', ['resnet50_v2', 'resnet50_v1d', 'se_resnet50_v1', 'resnet50_v1b_gn', 'vgg16'])
def test_another_architecture_of_the_zoo_is_refused(name):
    with pytest.raises(CheckpointError, match=r'cannot be imported; resnet\{18,34,50,101,152\}_v1 and _v1b can'):
        from_gluoncv(name)


def test_a_resnet_of_another_width_is_refused(nets, tmp_path):
    net = nets('resnet18_v1')
    net.save_parameters(str(tmp_path / 'net.params'))
    arrays = mx.nd.load(str(tmp_path / 'net.params'))
    arrays['features.4.0.body.0.weight'] = mx.nd.zeros((128, 64, 3, 3))
    mx.nd.save(str(tmp_path / 'wide.params'), arrays)
    message = (r'wide\.params, a ResNet-18 by its names, does not fit .* res2a_branch2a_weight has shape '
               r'\(128, 64, 3, 3\), \(64, 64, 3, 3\) expected\. Wide and grouped ResNets')
    with pytest.raises(CheckpointError, match=message):
        import_backbone.main(['--mxnet', str(tmp_path / 'wide.params'), '--output', str(tmp_path)])


@pytest.mark.parametrize('content, error, message', [(b'nonsense', CheckpointError, 'is no MXNet parameter file'),
                                                     (None, FileNotFoundError, 'no such parameter file')],
                         ids=['nonsense', 'missing'])
def test_a_file_that_is_missing_or_no_parameter_file_is_named(tmp_path, content, error, message):
    path = tmp_path / 'a.params'
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(error, match='a.params.*' + message):
        import_backbone.main(['--mxnet', str(path), '--output', str(tmp_path)])


@pytest.mark.parametrize('overrides, pad, convention', [((), '(0, 0)', 'full'),
                                                        (('network.POOL1=padded',), '(1, 1)', 'valid')],
                         ids=['default', 'padded'])
def test_the_printed_key_makes_the_sources_pooling(overrides, pad, convention):
    cfg = load_config(None, ('symbol=resnet_v1_50_rfcn',) + overrides)
    pool1 = make_symbol(cfg).get_symbol(is_train=False).attr_dict()['pool1']
    assert (pool1['pad'], pool1['pooling_convention']) == (pad, convention)


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
    ([np.zeros(64), np.ones(64)], 'conv1 expected with three blobs of BatchNorm and two of Scale, found 2 and 0')],
    ids=['no blobs', 'two blobs'])
def test_a_convolution_without_batch_norm_or_scale_is_refused(tmp_path, statistics, message):
    (tmp_path / 'a.caffemodel').write_bytes(encode('conv1', 'Convolution', [np.zeros((64, 3, 7, 7))])
                                            + encode('bn_conv1', 'BatchNorm', statistics))
    with pytest.raises(CheckpointError, match=message):
        load_caffe(str(tmp_path / 'a.caffemodel'))


def test_without_gluoncv_a_sentence_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, 'gluoncv', None)
    with pytest.raises(UserError, match='takes the package gluoncv, .*: pip install gluoncv$'):
        from_gluoncv('resnet50_v1')
