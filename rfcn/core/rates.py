"""Learning rates of single layers, and layers that are not trained, by the beginnings of their names."""
import copy
import json
import logging

import mxnet as mx

logger = logging.getLogger(__name__)


def names_beginning_with(symbol, prefixes, key):
    """The arguments of a graph whose names begin with one of `prefixes`; a prefix that none begins with is logged under
    `key`.
    """
    names = symbol.list_arguments()
    idle = [prefix for prefix in prefixes if not any(name.startswith(prefix) for name in names)]
    if idle:
        logger.warning('%s: this graph has no parameter whose name begins with %s', key, ' or '.join(idle))
    return [name for name in names if name.startswith(tuple(prefixes))]


def with_lr_mult(symbol, multipliers, key='TRAIN.LR_MULT'):
    """A copy of a graph whose parameters carry multipliers of the learning rate, which MXNet's optimizer reads off the
    graph.

    Args:
        multipliers: beginning of a name -> multiplier; of several that fit, the longest counts. It replaces the
            multiplier that the graph gives a layer (3 for conv_new_1).
    """
    if not multipliers:
        return symbol
    symbol = copy.deepcopy(symbol)
    nodes = symbol.get_internals()
    for name in names_beginning_with(symbol, list(multipliers), key):
        longest = max((prefix for prefix in multipliers if name.startswith(prefix)), key=len)
        nodes[name]._set_attr(__lr_mult__=str(multipliers[longest]))
    return symbol


def with_kept_statistics(symbol, fixed, frozen):
    """A copy of a graph whose BatchNorms that are not trained also compute with the mean and variance they were given.

    In the release no BatchNorm learns statistics, so that this changes nothing there. The small networks' do; without
    this a frozen layer would go on changing, and the layers that RPN and R-FCN share would differ after alternating.

    Args:
        fixed: parts of the names of layers; frozen: beginnings of them.
    """
    graph = json.loads(symbol.tojson(remove_amp_cast=False))  # else a bf16 graph would come back in fp32
    kept = [node for node in graph['nodes'] if node['op'] == 'BatchNorm' and (
        node['name'].startswith(tuple(frozen)) or any(fragment in node['name'] for fragment in fixed))]
    for node in kept:
        node['attrs']['use_global_stats'] = 'True'
    return mx.sym.load_json(json.dumps(graph)) if kept else symbol
