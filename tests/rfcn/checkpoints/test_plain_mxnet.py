"""The checkpoints of a training, loaded by MXNet alone: `mx.model.load_checkpoint`, where this project is not."""
import json

import numpy as np
import pytest

from rfcn import inference
from rfcn.config.config import load_config
from rfcn.exporters.plain import symbol_beside
from tests.rfcn.conftest import run_without_project

LOAD_AND_RUN = '''
symbol, arg_params, aux_params = mx.model.load_checkpoint({prefix!r}, 1)
module = mx.mod.Module(symbol, data_names=['data', 'im_info'], label_names=None)
module.bind([('data', data.shape), ('im_info', im_info.shape)], for_training=False)
module.set_params(arg_params, aux_params, allow_extra=True)
module.forward(mx.io.DataBatch([data, im_info]), is_train=False)
found = module.get_outputs()
'''


def test_a_checkpoint_loads_where_this_project_is_not_and_gives_the_same_boxes(tiny_run, tiny_params, tmp_path):
    found, batch = run_without_project(LOAD_AND_RUN.format(prefix=str(tiny_run / 'tiny')), tmp_path)
    # The tiny training has TEST.CXX_PROPOSAL: false, of which MXNet alone knows nothing.
    cfg = load_config(str(tiny_run / 'config.yaml'), ['TEST.CXX_PROPOSAL=true', 'TEST.BATCH_IMAGES=1'])
    expected = inference.predictor(cfg, tiny_params).predict(batch)
    for value, name in zip(found, ('rois', 'cls_prob', 'bbox_pred')):
        np.testing.assert_array_equal(value, expected[name])
    assert len(found) == 3 and expected['bbox_pred'].any()


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
