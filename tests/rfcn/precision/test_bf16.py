"""Convolutions in bfloat16."""
import json

import mxnet as mx
import numpy as np
import pytest

from rfcn.core.schedule import with_kept_statistics
from rfcn.precision import bf16
from rfcn.precision.bf16 import has_bf16, use_bf16, with_bf16_convolutions, with_bf16_weights
from rfcn.symbols import make_symbol


@pytest.fixture
def symbol(training_graph):
    return training_graph()[1]


@pytest.mark.parametrize('flags, amx_in_use, expected', [
    ('fpu avx512_bf16 sse', False, True), ('avx2 avx512f', False, False), ('avx512_bf16 amx_bf16', True, True),
    ('avx512_bf16 amx_bf16', False, False)])    # slower than float32 on a CPU that has AMX and must not use it
def test_the_instructions_are_looked_for_among_those_of_the_processor(tmp_path, monkeypatch, flags, amx_in_use,
                                                                      expected):
    monkeypatch.setattr(bf16, 'uses_amx', lambda: amx_in_use)
    (tmp_path / 'cpuinfo').write_text('processor : 0\nflags : %s\n' % flags)
    assert has_bf16(str(tmp_path / 'cpuinfo')) is expected


def test_a_system_that_does_not_list_its_instructions_has_none(tmp_path):
    assert not has_bf16(str(tmp_path / 'gone'))


@pytest.mark.parametrize('name', ['fp32', 'int8'])
def test_other_precisions_are_not_bf16(name, monkeypatch, caplog):
    monkeypatch.setattr(bf16, 'has_bf16', lambda: True)
    assert use_bf16('bf16', 'TRAIN.PRECISION') and not use_bf16(name, 'TRAIN.PRECISION')
    monkeypatch.setattr(bf16, 'has_bf16', lambda: False)
    assert not use_bf16(name, 'TRAIN.PRECISION') and not caplog.records


def test_without_the_instructions_float32_takes_its_place_and_the_log_says_so(monkeypatch, caplog):
    monkeypatch.setattr(bf16, 'has_bf16', lambda: False)
    assert not use_bf16('bf16', 'TRAIN.PRECISION')
    assert 'TRAIN.PRECISION is bf16, but this CPU lacks the instructions' in caplog.text


def test_every_convolution_reads_and_gives_bfloat16(symbol):
    converted = with_bf16_convolutions(symbol)
    types = types_of(converted)
    nodes = json.loads(converted.tojson(remove_amp_cast=False))['nodes']
    convolutions = [node for node in nodes if node['op'] == 'Convolution']
    assert convolutions
    for node in convolutions:
        sources = [nodes[number]['name'] + '_output' for number, _, _ in node['inputs']]
        assert {types[name] for name in sources + [node['name'] + '_output']} == {'bfloat16'}


def test_parameters_regions_and_losses_stay_in_float32(symbol):
    converted = with_bf16_convolutions(symbol)
    types = types_of(converted)
    assert converted.list_arguments() == symbol.list_arguments() and converted.list_outputs() == symbol.list_outputs()
    names = symbol.list_arguments() + symbol.list_auxiliary_states() + symbol.list_outputs()
    for name in names + ['rois_output', 'psroipooled_cls_rois_output', 'psroipooled_loc_rois_output',
                         'proposal_target_label']:
        assert types[name] == 'float32', name


@pytest.mark.parametrize('overrides', [
    ['symbol=small_rfcn'], ['symbol=small_rfcn_dcn'], ['symbol=small_naive_rcnn'], ['symbol=small_class_rpn'],
    ['symbol=small_faster_rcnn', 'network.CONV5=stride32', 'network.POOLED_SIZE=14']], ids=lambda given: given[0][7:])
@pytest.mark.parametrize('is_train', [True, False], ids=['training', 'testing'])
def test_each_network_has_a_graph_in_bfloat16(tiny_cfg, overrides, is_train):
    symbol = make_symbol(tiny_cfg(*overrides)).get_symbol(is_train=is_train)
    types = types_of(with_bf16_convolutions(symbol))
    assert types['conv1_output'] == 'bfloat16'
    assert {types[name] for name in symbol.list_outputs()} == {'float32'}


@pytest.mark.parametrize('channels, filters, side, window', [
    (3, 64, 33, dict(kernel=(7, 7), stride=(2, 2), pad=(3, 3))), (64, 256, 19, dict(kernel=(1, 1))),
    (48, 32, 20, dict(kernel=(1, 1), stride=(2, 2))), (128, 128, 17, dict(kernel=(3, 3), pad=(2, 2), dilate=(2, 2))),
    (64, 1029, 13, dict(kernel=(1, 1))), (5, 7, 9, dict(kernel=(3, 3), pad=(1, 1)))])
def test_a_layer_and_its_gradients_are_those_of_float32_to_three_digits(channels, filters, side, window):
    layer = mx.sym.Convolution(mx.sym.Variable('data'), name='layer', num_filter=filters, **window)
    expected = outputs_and_gradients(layer, (2, channels, side, side))
    found = outputs_and_gradients(with_bf16_convolutions(layer), (2, channels, side, side))
    for name in expected:
        error = np.sqrt(np.mean((found[name] - expected[name]) ** 2) / np.mean(expected[name] ** 2))
        assert error < 2.0 ** -7, (name, error)  # bfloat16 has 8 binary digits


def test_for_testing_the_weights_are_cast_once_and_the_results_are_the_same():
    layer = mx.sym.BatchNorm(mx.sym.Convolution(mx.sym.Variable('data'), name='layer', num_filter=8, kernel=(3, 3)),
                             name='norm', fix_gamma=False)
    data, rng = mx.nd.random.normal(shape=(1, 16, 9, 9)), np.random.RandomState(0)
    shapes, _, statistics = layer.infer_shape(data=data.shape)
    given = {name: mx.nd.array(rng.uniform(0.5, 1, shape)) for name, shape in
             list(zip(layer.list_arguments(), shapes))[1:] + list(zip(layer.list_auxiliary_states(), statistics))}
    args, aux = [{name: given[name] for name in names if name in given}
                 for names in (layer.list_arguments(), layer.list_auxiliary_states())]
    cast, cast_args, cast_aux = with_bf16_weights(layer, args, aux)
    assert {name for name in args if cast_args[name].dtype != np.float32} == {'layer_weight', 'layer_bias'}
    assert all(value.dtype == np.float32 for value in list(args.values()) + list(aux.values()))  # those given
    results = []
    for graph in (with_bf16_convolutions(layer), args, aux), (cast, cast_args, cast_aux):
        executor = graph[0].simple_bind(mx.cpu(), data=data.shape, grad_req='null')
        executor.copy_params_from(*graph[1:])
        results.append(executor.forward(is_train=False, data=data)[0].astype('float32').asnumpy())
    assert np.array_equal(*results) and np.any(results[0])


def outputs_and_gradients(layer, shape):
    """Output, and gradients of its sum weighted at random, of a layer with random numbers."""
    rng = np.random.RandomState(0)
    executor = layer.simple_bind(mx.cpu(), data=shape, grad_req='write')
    for _, value in sorted(executor.arg_dict.items()):
        value[:] = rng.normal(size=value.shape)
    output, = executor.forward(is_train=True)
    executor.backward(mx.nd.array(rng.normal(size=output.shape)).astype(output.dtype))
    return dict({name: gradient.asnumpy() for name, gradient in executor.grad_dict.items()},
                output=output.astype('float32').asnumpy())


def types_of(symbol):
    """Name of each array in the graph -> 'float32' or 'bfloat16'."""
    nodes = symbol.get_internals()
    types = nodes.infer_type(data='float32')[1]
    return {name: 'float32' if dtype == np.float32 else 'bfloat16' for name, dtype in zip(nodes.list_outputs(), types)}


def test_layers_that_are_not_trained_leave_the_convolutions_in_bfloat16(symbol):
    converted = with_kept_statistics(with_bf16_convolutions(symbol), ['bn2'], ['bn3'])
    assert any('amp_cast' in name for name in converted.get_internals().list_outputs())
    assert types_of(converted)['rfcn_cls_output'] == 'bfloat16'
