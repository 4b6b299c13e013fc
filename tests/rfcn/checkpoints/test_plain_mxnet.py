"""The checkpoints of a training, loaded by MXNet alone: `mx.model.load_checkpoint`, where this project is not."""
import json
import subprocess
import sys

import mxnet as mx
import numpy as np
import pytest

from rfcn import inference
from rfcn.config.config import load_config
from rfcn.exporters.plain import symbol_beside
from tests.conftest import ROOT, numpy_names

# Runs with -I in another folder, without the hooks by which an installed copy of the project would be found.
ALONE = '''
import sys
sys.path = [path for path in sys.path if path != {root!r} and not path.endswith('.editable')]
sys.meta_path = [finder for finder in sys.meta_path if 'editable' not in str(finder).lower()]
{numpy_names}
import mxnet as mx
symbol, arg_params, aux_params = mx.model.load_checkpoint({prefix!r}, 1)
module = mx.mod.Module(symbol, data_names=['data', 'im_info'], label_names=None)
module.bind([('data', (1, 3, 64, 96)), ('im_info', (1, 3))], for_training=False)
module.set_params(arg_params, aux_params, allow_extra=True)
module.forward(mx.io.DataBatch([mx.nd.array(np.load(name)) for name in ('data.npy', 'im_info.npy')]), is_train=False)
np.savez('found.npz', *[value.asnumpy() for value in module.get_outputs()])
assert not [name for name in sys.modules if name.split('.')[0] in ('rfcn', 'lib')]
'''


def test_a_checkpoint_loads_where_this_project_is_not_and_gives_the_same_boxes(tiny_run, tmp_path):
    data = np.random.RandomState(0).uniform(-100, 100, (1, 3, 64, 96)).astype(np.float32)
    im_info = np.array([[64, 96, 1]], dtype=np.float32)
    np.save(tmp_path / 'data.npy', data)
    np.save(tmp_path / 'im_info.npy', im_info)
    code = ALONE.format(root=str(ROOT), numpy_names=numpy_names(), prefix=str(tiny_run / 'tiny'))
    (tmp_path / 'run.py').write_text(code)
    done = subprocess.run([sys.executable, '-I', '-W', 'ignore', 'run.py'], cwd=str(tmp_path), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
    # The tiny training has TEST.CXX_PROPOSAL: false, of which MXNet alone knows nothing.
    cfg = load_config(str(tiny_run / 'config.yaml'), ['TEST.CXX_PROPOSAL=true', 'TEST.BATCH_IMAGES=1'])
    batch = mx.io.DataBatch(data=[mx.nd.array(data), mx.nd.array(im_info)], label=[],
                            provide_data=[mx.io.DataDesc('data', data.shape), mx.io.DataDesc('im_info', (1, 3))])
    expected, found = inference.predictor(cfg, str(tiny_run / 'tiny-0001.params')).predict(batch), np.load(
        tmp_path / 'found.npz')
    for number, name in enumerate(('rois', 'cls_prob', 'bbox_pred')):
        np.testing.assert_array_equal(found['arr_%d' % number], expected[name])
    assert expected['bbox_pred'].any()


def test_the_graph_beside_has_no_operator_of_this_project(tiny_run):
    nodes = json.loads((tiny_run / 'tiny-symbol.json').read_text())['nodes']
    assert not [node['name'] for node in nodes if node['op'] == 'Custom']
    assert {'rfcn_bbox_weight_test', 'rfcn_bbox_bias_test', 'rfcn_cls_weight'} <= {node['name'] for node in nodes}


@pytest.mark.parametrize('symbol', ['small_faster_rcnn', 'small_naive_rcnn', 'small_rfcn_dcn'])
def test_other_networks_have_a_graph_of_mxnets_own_operators_too(tiny_cfg, symbol):
    graph = json.loads(symbol_beside(tiny_cfg('symbol=' + symbol)).tojson())
    assert 'Custom' not in {node['op'] for node in graph['nodes']}


def test_a_network_that_mxnet_alone_cannot_compute_has_none_and_the_log_says_so(tiny_cfg, caplog):
    with caplog.at_level('INFO'):
        assert symbol_beside(tiny_cfg('symbol=small_class_rpn')) is None
    assert 'no graph is written beside the checkpoints: symbol: small_class_rpn cannot leave as plain' in caplog.text
