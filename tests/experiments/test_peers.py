"""Ours beside OpenVINO and PyTorch: what is compared, and what is said where they are absent."""
import importlib.util

import mxnet as mx
import numpy as np
import pytest

from experiments.bench import peers, subjects
from lib.errors import UserError
from rfcn.exporters.onnx_graph import Graph
from rfcn.exporters.onnx_layers import add_network


def test_where_nobody_is_installed_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda package: None)
    with pytest.raises(UserError, match='pip install onnx openvino nncf torch$'):
        peers.run(short=True)
    assert 'PyTorch, convolutions is left out: pip install torch' in capsys.readouterr().out


def test_theirs_are_the_convolutions_of_our_network_and_its_maps():
    graph = Graph()
    graph.input('data', peers.SHAPE)
    outputs = add_network(graph, *peers.convolutions(50))
    operators = [node.op for node in graph.nodes]
    assert len(outputs) == 4 and set(operators) == {'Conv', 'BatchNormalization', 'Relu', 'Add', 'MaxPool'}
    # ResNet-50: conv1, 16 units of three, 4 shortcuts; rpn_conv_3x3, conv_new_1 and the four maps
    assert operators.count('Conv') == 1 + 16 * 3 + 4 + 2 + 4


def test_a_measurement_has_a_row_for_each_and_the_ratio_of_ours(monkeypatch):
    monkeypatch.setattr(subjects, 'write_images', lambda folder, count: [])
    monkeypatch.setattr(peers, 'detections', lambda roidb, threads, present: {
        (peers.OURS, 'fp32'): lambda: sum(range(10 ** 5)), (peers.OPENVINO, 'fp32'): lambda: sum(range(10 ** 5))})
    ours, theirs = peers.work('detection', 1, [peers.OPENVINO], rounds=1)
    assert (ours['who'], theirs['who']) == (peers.OURS, peers.OPENVINO) and theirs['ours / theirs, CPU'] == ''
    assert ours['ours / theirs, CPU'] == pytest.approx(ours['CPU s'] / theirs['CPU s'])


def test_pytorch_computes_the_maps_that_mxnet_computes():
    torch = pytest.importorskip('torch', reason='torch is not installed: pip install torch')
    import json
    symbol, arg_params, aux_params = peers.convolutions(50)
    data = np.random.RandomState(0).uniform(-60, 60, (1, 3, 64, 96)).astype(np.float32)
    executor = symbol.simple_bind(mx.cpu(), data=data.shape)
    executor.copy_params_from(arg_params, aux_params, allow_extra_params=True)
    weights = {name: torch.from_numpy(value.asnumpy()) for name, value in dict(arg_params, **aux_params).items()}
    theirs = peers.torch_forward(torch, json.loads(symbol.tojson()), weights, torch.from_numpy(data))
    for ours, found in zip(executor.forward(is_train=False, data=mx.nd.array(data)), theirs):
        expected = ours.asnumpy()
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-4 * np.abs(expected).max())
