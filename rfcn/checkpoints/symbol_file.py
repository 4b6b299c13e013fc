"""MXNet's graphs in files, checked before MXNet reads them: on damaged ones it may crash.

    graph   {"nodes": [node, ...], "arg_nodes": [numbers of the variables], "heads": [entry, ...], ...}
    node    {"op", "name", "attrs": {text: text}, "inputs": [entry, ...], "subgraphs": [graph, ...]}
    entry   [number of a node, which of its outputs, version]

The op of a variable is null.
"""
from __future__ import annotations

import itertools
import json
import math
import re

import mxnet as mx

from lib.errors import CheckpointError, error_line
from lib.utils.limits import MAX_GRAPH_BYTES, MAX_GRAPH_COUNT, MAX_GRAPH_NODES, is_there, open_input

MAX_DEPTH = 2           # a fused convolution is a node that holds the graph which it was made of
PARAMS_SUM = 'params_sum'    # among the attributes of a graph
COUNTS = {'sections', 'reps', 'repeats', 'N'}     # attributes that say how many there are, besides all of num_...
_NODE_KEYS = {'op', 'name', 'attrs', 'inputs', 'subgraphs'}


def load_symbol_file(path: str) -> mx.sym.Symbol:
    """The graph of a file that MXNet 1.9 wrote.

    Raises:
        FileNotFoundError: no such file.
        CheckpointError: it is damaged, or holds no graph.
    """
    if not is_there(path):
        raise FileNotFoundError('%s: no such graph' % path)
    try:
        with open_input(path, 'r', MAX_GRAPH_BYTES, encoding='utf-8') as file:
            graph = json.load(file)
        _check(graph, MAX_DEPTH)
        return mx.sym.load_json(json.dumps(graph))
    except (OSError, ValueError, RecursionError, mx.base.MXNetError) as error:
        raise CheckpointError('%s is damaged or is no graph of MXNet: %s. Make it again'
                              % (path, error_line(error))) from None


def with_sum(symbol: mx.sym.Symbol, value: int) -> str:
    """The text of a graph's file that also states a sum of the parameters that it was made for."""
    graph = json.loads(symbol.tojson())
    graph['attrs'] = dict(graph.get('attrs', {}), **{PARAMS_SUM: ['str', str(value)]})  # MXNet reads and ignores it
    return json.dumps(graph, indent=2)


def sum_in(path: str) -> int | None:
    """The sum that `with_sum` put into a file that `load_symbol_file` could read; None where there is none."""
    with open(path, encoding='utf-8') as file:
        attrs = json.load(file).get('attrs')
    try:
        return int(attrs[PARAMS_SUM][1])
    except (KeyError, TypeError, ValueError, IndexError):
        return None


def _require(condition, otherwise):
    if not condition:
        raise ValueError(otherwise)


def _check(graph, depth, attrs=()):
    """Raise a ValueError or an MXNetError unless MXNet can read the graph.

    attrs: what the graph around it says of the version of MXNet; without a version MXNet tells at length of an upgrade.
    """
    _require(depth, 'it has graphs within graphs within graphs')
    _require(isinstance(graph, dict) and isinstance(graph.get('nodes'), list), 'it has no list of nodes')
    nodes, attrs = graph['nodes'], graph.get('attrs', attrs)
    _require(len(nodes) <= MAX_GRAPH_NODES, 'it has %d nodes, more than %d' % (len(nodes), MAX_GRAPH_NODES))
    for number, node in enumerate(nodes):
        _check_node(node, number, depth, attrs)
    counts = [(_count(value), name, number) for number, node in enumerate(nodes)
              for name, value in node.get('attrs', {}).items() if name.startswith('num_') or name in COUNTS]
    _require(sum(count for count, _, _ in counts) <= MAX_GRAPH_COUNT,
             'it has more than %d filters, outputs and parts; the most, %%s, by %%s of node %%d' % MAX_GRAPH_COUNT
             % max(counts, default=(0, '', 0)))
    _require(len({node['name'] for node in nodes}) == len(nodes), 'two nodes have the same name')
    _require(graph.get('arg_nodes') == [number for number, node in enumerate(nodes) if node['op'] == 'null'],
             'its arg_nodes are not its variables')
    _require(graph.get('heads') and _are_entries(graph['heads'], len(nodes)), 'its heads are no outputs of nodes')
    _check_outputs(dict(graph, attrs=attrs) if attrs else graph)


def _check_node(node, number, depth, attrs_of_graph):
    _require(isinstance(node, dict) and set(node) <= _NODE_KEYS and isinstance(node.get('op'), str)
             and isinstance(node.get('name'), str), 'node %d is not described as a node is' % number)
    attrs, subgraphs = node.get('attrs', {}), node.get('subgraphs', [])
    _require(isinstance(attrs, dict) and all(isinstance(value, str) for value in attrs.values()),
             'the attrs of node %d are no texts' % number)
    _require(_are_entries(node.get('inputs'), number), 'the inputs of node %d are no outputs of earlier nodes' % number)
    _require(isinstance(subgraphs, list), 'the subgraphs of node %d are no list' % number)
    for graph in subgraphs:
        _check(graph, depth - 1, attrs_of_graph)


def _count(text):
    """The largest whole number in an attribute's text: of '(2, 3)' 3, of 'None' 0."""
    return max(map(int, re.findall(r'\d+', text[:4096])), default=0) if len(text) <= 4096 else math.inf


def _are_entries(entries, nodes):
    """Whether these are outputs of the first so many nodes."""
    return isinstance(entries, list) and all(
        isinstance(entry, list) and len(entry) == 3 and all(type(n) is int and 0 <= n < 2 ** 31 for n in entry)
        and entry[0] < nodes for entry in entries)


def _check_outputs(graph):
    """MXNet reads beyond its arrays where an entry is no output of its node."""
    nodes = graph['nodes']
    first_only = [dict(node, inputs=[[source, 0, version] for source, _, version in node['inputs']]) for node in nodes]
    symbol = mx.sym.load_json(json.dumps(dict(graph, nodes=first_only, heads=[[n, 0, 0] for n in range(len(nodes))])))
    saved = json.loads(symbol.tojson())
    ends = saved['node_row_ptr']       # where the outputs of each node begin, and the end
    outputs = {node['name']: end - begin for node, begin, end in zip(saved['nodes'], ends, ends[1:])}
    for source, output, _ in itertools.chain(*[node['inputs'] for node in nodes], graph['heads']):
        _require(output < outputs[nodes[source]['name']], 'node %d has no output %d' % (source, output))
