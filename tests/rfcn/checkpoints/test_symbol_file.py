"""Graphs from files."""
import json

import pytest

from lib.errors import CheckpointError
from lib.utils.limits import MAX_GRAPH_BYTES
from rfcn.checkpoints.symbol_file import load_symbol_file
from rfcn.precision import quantization
from tests.fuzz.seeds import small_graph

FUSED = small_graph().get_backend_symbol('MKLDNN_QUANTIZE')
# The nodes of the plain graph: data, conv_weight, conv_bias, conv, 4 of bn, bn, relu, halves.
CONV, BN, RELU, HALVES = 3, 8, 9, 10


def written(tmp_path, graph):
    (tmp_path / 'a-symbol.json').write_text(graph if isinstance(graph, str) else json.dumps(graph))
    return str(tmp_path / 'a-symbol.json')


@pytest.mark.parametrize('graph', [small_graph(), FUSED], ids=['plain', 'fused'])
def test_what_mxnet_wrote_comes_back_without_a_word(tmp_path, graph, capfd):
    graph.save(str(tmp_path / 'a-symbol.json'))
    assert load_symbol_file(str(tmp_path / 'a-symbol.json')).tojson() == graph.tojson()
    assert capfd.readouterr().err == ''     # MXNet tells of an upgrade of what has no version


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='a-symbol.json: no such graph'):
        load_symbol_file(str(tmp_path / 'a-symbol.json'))


@pytest.mark.parametrize('text', ['', '[]', 'null', '{"nodes": 3}', '{"nodes": [', '{"nodes": [null]}',
                                  pytest.param('[' * 100000, id='too deep'),
                                  pytest.param(' ' * (MAX_GRAPH_BYTES + 1), id='too large')])
def test_what_is_no_graph_is_refused(tmp_path, text):
    with pytest.raises(CheckpointError, match='a-symbol.json is damaged or is no graph of MXNet: '):
        load_symbol_file(written(tmp_path, text))


def test_a_graph_near_the_limits_is_read(tmp_path):
    nodes = [{'op': 'null', 'name': 'data', 'inputs': []}] + [
        {'op': 'add_n', 'name': 'sum%d' % number, 'attrs': {'num_args': '58'}, 'inputs': [[0, 0, 0]] * 58}
        for number in range(9000)]      # of nodes and of numbers that say how many there are
    path = written(tmp_path, {'nodes': nodes, 'arg_nodes': [0], 'node_row_ptr': list(range(9002)),
                              'heads': [[9000, 0, 0]], 'attrs': {'mxnet_version': ['int', 10901]}})
    assert load_symbol_file(path).list_outputs() == ['sum8999_output']


def put(*path_and_value):
    """A change of a graph: the value goes where the path leads."""
    *path, key, value = path_and_value
    where = '.'.join(map(str, path + [key]))

    def change(graph):
        for step in path:
            graph = graph[step]
        graph[key] = value
    change.__name__ = '%s=%s' % (where, value)
    return change


@pytest.mark.parametrize('change, message', [
    (put('nodes', CONV, 'inputs', 0, [99, 0, 0]), 'the inputs of node 3 are no outputs of earlier nodes'),
    (put('nodes', CONV, 'inputs', 0, [CONV, 0, 0]), 'the inputs of node 3 are no outputs of earlier nodes'),
    (put('nodes', CONV, 'inputs', 0, [-1, 0, 0]), 'the inputs of node 3 are no outputs of earlier nodes'),
    (put('nodes', CONV, 'inputs', 0, [0, 7, 0]), 'node 0 has no output 7'),
    (put('nodes', RELU, 'inputs', 0, [BN, 3, 0]), 'node 8 has no output 3'),      # it has three
    (put('heads', [[HALVES, 2, 0]]), 'node 10 has no output 2'),
    (put('heads', [[99, 0, 0]]), 'its heads are no outputs of nodes'),
    (put('heads', []), 'its heads are no outputs of nodes'),
    (put('arg_nodes', [0, CONV]), 'its arg_nodes are not its variables'),
    (put('nodes', 1, 'name', 'data'), 'two nodes have the same name'),
    (put('nodes', CONV, 'attrs', {'kernel': 1}), 'the attrs of node 3 are no texts'),
    (put('nodes', CONV, 'attrs', 'num_filter', '(1e9,'), 'num_filter'),
    (put('nodes', CONV, 'op', 'Convolutoin'), 'Convolutoin'),
    (put('nodes', CONV, 'op', 'Custom'), 'op_type|Custom'),
    (put('nodes', CONV, 'attrs', ['kernel']), 'the attrs of node 3 are no texts'),
    (put('nodes', CONV, 'op', 3), 'node 3 is not described as a node is'),
    (put('nodes', CONV, 'name', 3), 'node 3 is not described as a node is'),
    (put('nodes', CONV, 'subgraphs', 3), 'the subgraphs of node 3 are no list'),
    (put('nodes', CONV, 'surprise', 3), 'node 3 is not described as a node is')],
    ids=lambda given: given.__name__ if callable(given) else None)
def test_graphs_that_mxnet_would_stumble_over_are_refused(tmp_path, change, message):
    graph = json.loads(small_graph().tojson())
    change(graph)
    with pytest.raises(CheckpointError, match='a-symbol.json is damaged .*(%s)' % message):
        load_symbol_file(written(tmp_path, graph))


def test_a_damaged_int8_graph_is_named(tmp_path):
    path = written(tmp_path, FUSED.tojson()[:-20])
    with pytest.raises(CheckpointError, match='a-symbol.json is damaged'):
        quantization.load_symbol(path.replace('-symbol.json', '-0000.params'))


def test_graphs_within_graphs_are_checked_too_and_not_endlessly_deep(tmp_path):
    graph = json.loads(FUSED.tojson())
    fused, = [node for node in graph['nodes'] if 'subgraphs' in node]
    inner, = fused['subgraphs']
    fused['subgraphs'] = [dict(inner, heads=[[0, 9, 0]])]
    with pytest.raises(CheckpointError, match='node 0 has no output 9'):
        load_symbol_file(written(tmp_path, graph))
    fused['subgraphs'] = [inner]
    fused['subgraphs'] = [json.loads(json.dumps(graph))]
    with pytest.raises(CheckpointError, match='is damaged .* it has graphs within graphs within graphs'):
        load_symbol_file(written(tmp_path, graph))
