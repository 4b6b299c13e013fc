"""Plain MXNet: a detector's test graph and parameters, of MXNet's own operators alone.

    PREFIX-symbol.json    inputs data (1, 3, H, W) and im_info (1, 3); outputs rois, cls_prob, bbox_pred
    PREFIX-0000.params    with the box layer for testing under its plain name

`mx.mod.Module` and `gluon.SymbolBlock.imports` load the pair in a process that does not have this project.
"""
import json
import logging

import mxnet as mx

from lib.errors import ConfigError
from lib.utils.whole_file import save_whole
from rfcn.checkpoints import checkpoint
from rfcn.checkpoints.checkpoint import SYMBOL_END
from rfcn.config.config import with_overrides
from rfcn.inference import load_for_inference
from rfcn.symbols import make_symbol

logger = logging.getLogger(__name__)


def plain_symbol(cfg):
    """The test graph for one image of any size, of MXNet's own operators alone.

    Proposals come from `contrib.MultiProposal`, whatever TEST.CXX_PROPOSAL says. It differs from the Python operator:
    it does not limit how much a side may grow, ranks cells beyond the image's last whole one last instead of leaving
    them out, and repeats proposals in turn where there are too few.

    Args:
        cfg: a loaded configuration.
    Returns:
        mx.sym.Symbol with the outputs rois (R, 5), cls_prob (1, R, C), bbox_pred (1, R, 4 * num_reg_classes).
    Raises:
        ConfigError: the network has operators in Python that MXNet has no counterpart of.
    """
    cfg = with_overrides(cfg, {'TEST.BATCH_IMAGES': 1, 'TEST.CXX_PROPOSAL': True})
    symbol = make_symbol(cfg).get_symbol(is_train=False)
    foreign = [node['name'] for node in json.loads(symbol.tojson())['nodes'] if node['op'] == 'Custom']
    if foreign:
        raise ConfigError('symbol: %s cannot leave as plain MXNet: %s is an operator of this project, in Python; R-FCN '
                          'and the baselines with RoIs can' % (cfg.symbol, ', '.join(foreign)))
    return symbol


def symbol_beside(cfg):
    """`plain_symbol` for the parameter files of a training; None where MXNet alone cannot compute the network.

    It reads the box layer's parameters under the names that they have there for testing, `rfcn_bbox_weight_test`: those
    without `_test` are of normalised targets.
    """
    try:
        graph = json.loads(plain_symbol(cfg).tojson())
    except ConfigError as error:
        logger.info('no graph is written beside the checkpoints: %s', error)
        return None
    for node in graph['nodes']:
        if node['name'] in checkpoint.BBOX_PARAMS:
            node['name'] += checkpoint.TEST_SUFFIX
    return mx.sym.load_json(json.dumps(graph))


def export_plain(cfg, params, path):
    """Write a checkpoint as plain MXNet.

    Args:
        params: path of the checkpoint.
        path: of the graph, ends in '-symbol.json'; the parameters go beside it.
    Returns:
        the two paths.
    Raises:
        ConfigError: see `plain_symbol`; another end of the path.
        CheckpointError: the parameters do not fit the configuration; see `check_new_graph`.
    """
    if not path.endswith(SYMBOL_END):
        raise ConfigError('%s: the graph of plain MXNet must be called PREFIX%s' % (path, SYMBOL_END))
    paths = path, checkpoint.params_path(path[:-len(SYMBOL_END)], 0)
    checkpoint.check_new_graph(paths[1], params)
    symbol = plain_symbol(cfg)
    arg_params, aux_params = load_for_inference(cfg, params)
    checkpoint.check_params(symbol, {'data': (1, 3, 256, 256), 'im_info': (1, 3)}, arg_params, aux_params, params)
    known = set(symbol.list_arguments() + symbol.list_auxiliary_states())
    arrays = {name: value for name, value in checkpoint.tag_params(arg_params, aux_params).items()
              if name.partition(':')[2] in known}     # gluon refuses what the graph does not have

    def write(params_path, symbol_path):
        checkpoint.write_arrays(params_path, arrays)
        with open(symbol_path, 'w', encoding='utf-8') as file:
            file.write(symbol.tojson())
    save_whole(paths[::-1], write, last_tells=True)     # MXNet itself could not tell that two halves are not a pair
    return paths
