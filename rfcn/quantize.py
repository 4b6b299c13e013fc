"""Make an INT8 model of a checkpoint: `rfcn quantize --cfg X.yaml --params Y.params [KEY=VALUE ...]`.

Writes PREFIX-symbol.json and PREFIX-0000.params (`--out PREFIX`), for the scripts and for `Detector`:
`TEST.PRECISION=int8`, `--params PREFIX-0000.params`.
"""
import sys
from pathlib import Path

if __package__ in (None, ''):
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a file: the folder of rfcn and lib, not rfcn itself
    import rfcn  # noqa: F401  gives NumPy 2 the names that MXNet asks for, so before anything imports MXNet

import difflib
import logging
import os
import shlex

import mxnet as mx
import numpy as np

from lib.errors import ConfigError
from lib.utils.console import progress
from lib.utils.folders import locked_folder
from lib.utils.whole_file import check_place, is_stream, save_whole
from rfcn import data_sets, inference
from rfcn.checkpoints import checkpoint, states
from rfcn.checkpoints.identity import QUANTIZED, Identity, settings_of
from rfcn.checkpoints.symbol_file import with_sum
from rfcn.cli.run import log_to, parse_config
from rfcn.cli.script import run_script
from rfcn.config.config import with_overrides
from rfcn.core.detect import Predictor
from rfcn.core.image_loaders import image_loader
from rfcn.core.loader import Batch
from rfcn.precision import quantization

logger = logging.getLogger(__name__)

COMPARED = 4  # images on which --per_layer compares; the ranges come from all


def add_arguments(parser):
    """Add the arguments of this script."""
    parser.add_argument('--params', required=True, help='the checkpoint, .params')
    parser.add_argument('--out', help='first part of the names to write; by default that of the checkpoint, and -int8')
    parser.add_argument('--per_layer', action='store_true',
                        help='write nothing; print the error that INT8 causes in each layer alone')


def calibration_roidb(cfg):
    """`TEST.QUANTIZE.CALIB_IMAGES` of the training images, evenly spaced over the set, without mirror images."""
    roidb = data_sets.training_roidb(with_overrides(cfg, {'TRAIN.FLIP': False}))
    count = min(cfg.TEST.QUANTIZE.CALIB_IMAGES, len(roidb))
    return [roidb[i] for i in np.linspace(0, len(roidb) - 1, count).astype(int)]


def check_layers(names, known):
    """Raises ConfigError for a name in TEST.QUANTIZE.FP32_LAYERS that is no convolution of the network."""
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            raise ConfigError('TEST.QUANTIZE.FP32_LAYERS: the network has no convolution %r%s; it has %s'
                              % (name, '; did you mean %s?' % near[0] if near else '', ', '.join(known)))


def calibration_batches(cfg):
    """Batches of the images to calibrate on, with a progress bar."""
    loader = image_loader(cfg, calibration_roidb(cfg))
    return progress(loader.batches(), 'calibrate', 'batch', len(loader))


def for_quantization(cfg, params):
    """The configuration under which the network of a checkpoint is calibrated: on the CPU, in fp32."""
    return data_sets.with_classes(with_overrides(cfg, {'TEST.PRECISION': 'fp32', 'gpus': ''}), params)


def quantize_net(cfg, params, prefix):
    """Calibrate on training images and write the INT8 model. Returns the path of its parameters."""
    path = checkpoint.params_path(prefix, 0)
    checkpoint.check_new_graph(path, params)
    for output in outputs(path):
        check_place(output)
    with locked_folder(os.path.dirname(path) or '.'):
        save_int8(path, *_quantized(for_quantization(cfg, params), params))
    logger.info('wrote %s; use it with --params %s TEST.PRECISION=int8', path, shlex.quote(path))
    return path


def _quantized(cfg, params):
    """The INT8 graph of a checkpoint, its parameters, and what the model says of itself."""
    settings = cfg.TEST.QUANTIZE
    symbol, arg_params, aux_params = inference.load_network(cfg, params)
    known = quantization.convolutions(symbol)
    check_layers(settings.FP32_LAYERS, known)
    quantized, *corrected = quantization.quantize(symbol, arg_params, aux_params, calibration_batches(cfg),
                                                  fp32_layers=settings.FP32_LAYERS, mode=settings.CALIB_MODE)
    int8 = quantization.int8_layers(quantized)
    logger.info('%d of %d convolutions are INT8; these stay fp32: %s', len(int8), len(known),
                ', '.join(name for name in known if name not in int8) or 'none')
    trained = states.identity_of_params(params)
    return quantized, *corrected, Identity(QUANTIZED, settings_of(cfg), trained and trained.data)


def outputs(path):
    """The files of an INT8 model whose parameters are at a path, in the order in which they get their names."""
    return [quantization.symbol_path(path), states.states_beside(path), path]


def save_int8(path, symbol, arg_params, aux_params, identity):
    """Write an INT8 model: its graph, its parameters, and what they are; each knows the sum of the parameters."""
    progress = states.finished(arg_params, aux_params)

    def write(symbol_path, states_path, params_path):
        Path(symbol_path).write_text(with_sum(symbol, progress.checksum), encoding='utf-8')
        checkpoint.write_arrays(states_path, states.states_arrays({}, progress, identity))
        checkpoint.write_arrays(params_path, checkpoint.tag_params(arg_params, aux_params))
    save_whole(outputs(path), write)


def last_convolutions(symbol):
    """Names of the convolutions whose output goes through no other one: the score and box maps."""
    names, behind, last = set(quantization.convolutions(symbol)), {}, set()
    for node in quantization.nodes_of(symbol):
        behind[node['name']] = set().union(*[behind[source] for source in node['input_names']])
        if node['name'] in names:
            last = last - behind[node['name']] | {node['name']}
            behind[node['name']] = behind[node['name']] | {node['name']}
    return [name for name in quantization.convolutions(symbol) if name in last]


class Sensitivity:
    """Errors of a network's last maps under INT8, in any of its layers.

    Args:
        symbol: a test graph. arg_params, aux_params: its parameters.
        batches: iterable of batches of images for the ranges, 'naive' ones; the first ones serve to compare, too.
    Attributes:
        maps: names of the maps. layers: names of the layers that they need and that can be INT8, in their order.
    """

    def __init__(self, symbol, arg_params, aux_params, batches):
        self.maps = last_convolutions(symbol)
        internals = symbol.get_internals()
        self.symbol = mx.sym.Group([internals[name + '_output'] for name in self.maps])
        images = [Batch(dict(data=batch.data[0])) for batch in batches]
        self.calibration = quantization.Calibration(self.symbol, arg_params, aux_params, images)
        fused = quantization.fused_layers(self.calibration.fused)
        self.layers = tuple(name for name in quantization.convolutions(self.symbol) if name in fused)
        self.images = images[:COMPARED]
        self.expected = self._maps(self.symbol, arg_params, aux_params)

    def errors(self, int8_layers):
        """Root mean square of the error of each map over that of the map itself, with INT8 in some layers alone."""
        found = self._maps(*self.calibration.model([name for name in self.layers if name not in int8_layers]))
        return [norm(f - e for f, e in zip(*pair)) / norm(pair[1]) for pair in zip(found, self.expected)]

    def _maps(self, symbol, arg_params, aux_params):
        """Map -> its values on each of the images."""
        predictor = Predictor(symbol, ['data'], [mx.cpu()], arg_params, aux_params)
        return list(zip(*[tuple(predictor.predict(batch).values()) for batch in self.images]))


def norm(arrays):
    """Root of the sum of the squares."""
    return float(np.sqrt(sum(np.square(array, dtype=np.float64).sum() for array in arrays)))


def report_layers(cfg, params):
    """Print the error that INT8 makes in the network's score and box maps: in all layers, in those that the
    configuration does not keep in fp32, in each one alone.
    """
    cfg = for_quantization(cfg, params)
    network, kept = inference.load_network(cfg, params), cfg.TEST.QUANTIZE.FP32_LAYERS
    check_layers(kept, quantization.convolutions(network[0]))
    sensitivity = Sensitivity(*network, batches=calibration_batches(cfg))
    row = '%-24s' + ' %16s' * len(sensitivity.maps)
    logger.info('error of INT8, %% of the root mean square of\n' + row, 'INT8 in', *sensitivity.maps)
    sets = {'all layers': sensitivity.layers}
    if kept:
        sets['all but FP32_LAYERS'] = [layer for layer in sensitivity.layers if layer not in kept]
    sets.update((layer, (layer,)) for layer in sensitivity.layers)
    for name, layers in sets.items():
        logger.info(row, name, *['%.2f' % (100 * error) for error in sensitivity.errors(layers)])


def check_prefix(out):
    """Raise a ConfigError for the name of a file or a stream where the first part of names is expected."""
    if is_stream(out) or os.path.isfile(out) or out.endswith(('/', '.params', '.json')):
        raise ConfigError('--out %s: expected the first part of the names of files, such as output/int8, which '
                          'becomes output/int8-0000.params and output/int8-symbol.json' % out)


def main(argv=None):
    """Entry point."""
    cfg, args = parse_config(__doc__, argv, add_arguments)
    log_to(None, cfg.default.log_level)
    if args.out:
        check_prefix(args.out)
    if args.out and args.per_layer:
        raise ConfigError('--per_layer writes nothing: leave it or --out away')
    if args.per_layer:
        report_layers(cfg, args.params)
    else:
        quantize_net(cfg, args.params, args.out or quantization.int8_prefix(args.params))


if __name__ == '__main__':
    run_script(main)
