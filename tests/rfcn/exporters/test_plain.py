"""Plain MXNet: loaded where the project cannot be imported, it gives what the project's own network gives."""
import json

import numpy as np
import pytest

from lib.errors import CheckpointError, ConfigError
from rfcn import export, inference
from rfcn.config.config import load_config, with_overrides
from rfcn.exporters.plain import export_plain, plain_symbol
from tests.rfcn.conftest import run_without_project

LOAD_TWICE = '''
symbol, arg_params, aux_params = mx.model.load_checkpoint({prefix!r}, 0)
module = mx.mod.Module(symbol, data_names=['data', 'im_info'], label_names=None)
module.bind([('data', data.shape), ('im_info', im_info.shape)], for_training=False)
module.set_params(arg_params, aux_params)
module.forward(mx.io.DataBatch([data, im_info]), is_train=False)
block = mx.gluon.SymbolBlock.imports({prefix!r} + '-symbol.json', ['data', 'im_info'], {prefix!r} + '-0000.params')
found = list(module.get_outputs()) + list(block(data, im_info))
'''


@pytest.fixture(scope='module')
def trained(tiny_run, tiny_params):
    """Configuration and parameters of the tiny network, with MXNet's own proposals."""
    cfg = load_config(str(tiny_run / 'config.yaml'), ['TEST.CXX_PROPOSAL=true', 'TEST.BATCH_IMAGES=1'])
    return cfg, tiny_params


def test_modules_and_gluon_load_it_where_the_project_cannot_be_imported(trained, tmp_path):
    cfg, params = trained
    export_plain(cfg, params, str(tmp_path / 'plain-symbol.json'))
    found, batch = run_without_project(LOAD_TWICE.format(prefix=str(tmp_path / 'plain')), tmp_path / 'elsewhere')
    expected = inference.predictor(cfg, params).predict(batch)
    assert len(found) == 6 and expected['bbox_pred'].any()
    for name, by_module, by_gluon in zip(('rois', 'cls_prob', 'bbox_pred'), found[:3], found[3:]):
        np.testing.assert_array_equal(by_module, expected[name])
        # Gluon does not fuse convolutions with what follows them, which is another order of the same sums.
        np.testing.assert_allclose(by_gluon, expected[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('detector', ['rfcn', 'rfcn_dcn', 'naive_rcnn', 'faster_rcnn'])
def test_a_plain_graph_has_no_operator_of_the_project(tiny_cfg, detector):
    stride = 'network.POOLED_SIZE=%d' % (14 if detector == 'faster_rcnn' else 3)
    symbol = plain_symbol(tiny_cfg('symbol=small_' + detector, stride, 'network.CONV5=atrous'))
    assert not [node for node in json.loads(symbol.tojson())['nodes'] if node['op'] == 'Custom']
    assert symbol.list_outputs()[0] == 'rois_output'


def test_a_network_of_operators_in_python_is_refused(tiny_cfg):
    with pytest.raises(ConfigError, match='small_class_rpn cannot leave as plain MXNet: best_anchors'):
        plain_symbol(tiny_cfg('symbol=small_class_rpn'))


def test_anchors_that_mxnet_cannot_make_are_refused_with_what_can_be_done(tiny_cfg):
    with pytest.raises(ConfigError, match='Plain MXNet has no other one; .* with this ratio can leave as ONNX'):
        plain_symbol(tiny_cfg('network.ANCHOR_RATIOS=[2.321]', 'TEST.CXX_PROPOSAL=false'))


def test_parameters_of_another_configuration_are_refused(trained, tmp_path):
    cfg, params = trained
    with pytest.raises(CheckpointError, match='tells other classes apart: it knows blue, red; the conf'):
        export_plain(with_overrides(cfg, {'dataset.CLASSES': ['red', 'green', 'blue']}), params,
                     str(tmp_path / 'plain-symbol.json'))
    assert not list(tmp_path.iterdir())


def test_the_command_tells_the_ends_of_names_that_it_knows(trained, tiny_run, tmp_path):
    with pytest.raises(ConfigError, match='a name that ends in .onnx or in -symbol.json'):
        export.main(['--cfg', str(tiny_run / 'config.yaml'), '--params', trained[1], '--out', str(tmp_path / 'x.pb')])


@pytest.mark.parametrize('option', [['--detections'], ['--image', 'a.jpg'], ['--repeat', '2']])
def test_options_of_onnx_are_refused(trained, tiny_run, tmp_path, option):
    with pytest.raises(ConfigError, match='are for ONNX: leave them out'):
        export.main(['--cfg', str(tiny_run / 'config.yaml'), '--params', trained[1],
                     '--out', str(tmp_path / 'plain-symbol.json'), *option])
    assert not list(tmp_path.iterdir())


def test_the_halves_of_two_exports_never_stand_side_by_side(trained, tmp_path, killed_before):
    cfg, params = trained
    path = tmp_path / 'plain-symbol.json'
    path.write_text('an older graph')
    (tmp_path / 'plain-0000.params').write_text('older parameters')

    killed_before('plain-symbol.json')
    with pytest.raises(KeyboardInterrupt):
        export_plain(cfg, params, str(path))
    assert [left.name for left in tmp_path.iterdir()] == ['plain-0000.params']


def test_the_command_writes_the_pair(trained, tiny_run, tmp_path):
    out = tmp_path / 'new' / 'plain-symbol.json'
    export.main(['--cfg', str(tiny_run / 'config.yaml'), '--params', trained[1], '--out', str(out)])
    assert sorted(path.name for path in out.parent.iterdir()) == ['plain-0000.params', 'plain-symbol.json']
