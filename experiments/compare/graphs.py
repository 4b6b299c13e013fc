"""The graphs: names and shapes of their arguments, statistics and outputs, and how each parameter is trained."""
import re
from pathlib import Path

import mxnet as mx

from experiments.compare.vectors import plain
from rfcn.config.config import load_config, with_overrides
from rfcn.core.module import fixed_param_names
from rfcn.symbols import make_symbol

CFGS = Path(__file__).resolve().parents[1] / 'rfcn' / 'cfgs'
BUILDERS = {'e2e': 'get_symbol', 'rpn': 'get_symbol_rpn', 'rfcn': 'get_symbol_rfcn'}
RAISES = 'the original cannot build this graph (%s); ours has the outputs %s'
AUTOMATIC = r'[a-z_]+\d+_output'  # MXNet's names for what has none, such as blockgrad0_output


def release_config(name, overrides=()):
    """Our YAML of that name, with other values for some keys such as TRAIN.BATCH_ROIS."""
    return with_overrides(load_config(CFGS / name), dict(overrides))


def build_graph(cfg, graph, is_train):
    """'e2e', 'rpn' or 'rfcn' of the network that the configuration names."""
    return getattr(make_symbol(cfg), BUILDERS[graph])(is_train=is_train)


def check_symbols(vector, report):
    """Every graph of the list."""
    tables = vector.record['tables']
    for number, case in enumerate(vector.record['graphs']):
        report.title = '%d %s %s' % (number, case['graph'], 'train' if case['is_train'] else 'test')
        cfg = release_config(case['config'], dict(plain(case['overrides']), symbol=case['symbol']))
        symbol = build_graph(cfg, case['graph'], case['is_train'])
        if 'original_raises' in case:
            report.departs('outputs', RAISES % (case['original_raises'], ', '.join(symbol.list_outputs())))
        else:
            _check_arguments(symbol, case, tables, report)
            _check_outputs(symbol, case, tables, report)
            _check_parameters(symbol, cfg, case, tables, report)


def resolve(value, tables):
    """The list or dict itself, or the table that a text such as T12 names."""
    return plain(tables[value] if isinstance(value, str) else value)


def _infer(symbol, case):
    return symbol.infer_shape(**{name: tuple(shape) for name, shape in case['input_shapes'].items()})


def _check_arguments(symbol, case, tables, report):
    """Compare the arguments by name; that the order differs is only noted."""
    arguments, _, statistics = _infer(symbol, case)
    for key, names, shapes in (('args', symbol.list_arguments(), arguments),
                               ('aux', symbol.list_auxiliary_states(), statistics)):
        theirs = [(name, tuple(shape)) for name, shape in resolve(case[key], tables)]
        note = '' if names == [name for name, _ in theirs] else 'in another order'
        report.check(key, dict(zip(names, shapes)), dict(theirs), note=note)


def _check_outputs(symbol, case, tables, report):
    """Compare the outputs in their order, without the names that MXNet made up."""
    theirs = resolve(case['outputs'], tables)
    report.check('output shapes', list(_infer(symbol, case)[1]), [tuple(shape) for _, shape in theirs])
    pairs = [(ours, name) for ours, (name, _) in zip(symbol.list_outputs(), theirs)
             if not re.fullmatch(AUTOMATIC, name)]
    report.check('output names', [ours for ours, _ in pairs], [name for _, name in pairs])


def _check_parameters(symbol, cfg, case, tables, report):
    inputs = [name for name in symbol.list_arguments() if name in case['input_shapes']]
    parameters = [name for name in symbol.list_arguments() if name not in inputs]
    report.check('inputs', sorted(inputs), sorted(case['data_names'] + case['label_names']))
    for key in ('fixed_params', 'fixed_params_shared'):
        fixed = set(fixed_param_names(symbol, cfg.network[key.upper()])) - set(inputs)
        report.check(key, sorted(fixed), sorted(resolve(case[key], tables)))
    optimizer = mx.optimizer.SGD(sym=symbol, param_idx2name=dict(enumerate(parameters)))
    rates = {name: rate for name, rate in optimizer.lr_mult.items() if name in parameters and rate != 1}
    report.check('lr_mult', rates, resolve(case['lr_mult'], tables))
    without_decay = sorted(name for name in parameters if optimizer.wd_mult.get(name) == 0)
    report.check('without weight decay', without_decay, sorted(resolve(case['wd_mult_zero'], tables)))
