"""Whole networks with parameters that anyone can make again: outputs of the test graphs, and feature maps.

No file of weights comes with a vector: a parameter follows from its name, its shape and a number, the vector's salt.
Each has a stream of its own: standard normal numbers in double precision from a RandomState (the Mersenne Twister with
its old, polar normal generator) whose seed is the CRC-32 of the name, exclusive-or the salt. What becomes of them
depends on the end of the name; the result is rounded to float32.
"""
import re
import zlib

import mxnet as mx
import numpy as np

from experiments.compare.graphs import build_graph, release_config
from experiments.compare.images import PIXEL_MEANS
from experiments.compare.network_training import check_training, match_rows
from experiments.compare.report import NETWORK, PIXELS, PROBABILITY
from lib.utils.image import transform
from rfcn.core.detect import Predictor
from rfcn.core.loader import Batch

SEED_TEST, SEED_RPN_TEST = 1, 6  # added to a vector's salt
TOLERANCES = {'rois': PIXELS, 'score': PROBABILITY, 'cls_prob': PROBABILITY, 'rpn_cls_prob': PROBABILITY}
OUTPUT_NAMES = {'rpn_cls_prob': 'rpn_cls_act', 'score': 'rois_score'}  # where ours say something else
OF_RPN = ('rpn_cls_act_reshape_output', 'rpn_bbox_pred_output')


class Network:
    """A vector with its configuration, inputs and parameters.

    Args:
        vector: net_<name>.
    """

    def __init__(self, vector):
        self.vector = vector
        self.record = vector.record
        self.salt = self.record['salt']
        self.image = vector.picture('image_bgr_uint8', 'picture')
        self.inputs = {'data': transform(self.image, PIXEL_MEANS), 'im_info': vector['im_info']}
        self._parameters = {}

    def config(self, section='TRAIN', **changes):
        """The configuration with other values for some keys of a section."""
        changes = {'%s.%s' % (section, key): value for key, value in changes.items()}
        return release_config(self.record['config'], changes)

    def parameters(self, symbol, inputs):
        """arg_params and aux_params of a graph; each is made once for all graphs."""
        arguments, _, statistics = symbol.infer_shape(**{name: array.shape for name, array in inputs.items()})
        named = (zip(symbol.list_arguments(), arguments), zip(symbol.list_auxiliary_states(), statistics))
        return tuple({name: self._parameter(name, shape) for name, shape in pairs if name not in inputs}
                     for pairs in named)

    def _parameter(self, name, shape):
        if (name, shape) not in self._parameters:
            self._parameters[name, shape] = mx.nd.array(make_parameter(name, shape, self.salt))
        return self._parameters[name, shape]

    def predict(self, symbol, inputs, seed):
        """Outputs of a test graph by name, seeded."""
        predictor = Predictor(symbol, list(inputs), [mx.cpu()], *self.parameters(symbol, inputs))
        np.random.seed(self.salt + seed)
        return predictor.predict(Batch(inputs))


def check_network(vector, report):
    """All graphs of one network."""
    network = Network(vector)
    network.record.note('which', 'image', 'min_rpn_score_gap')  # where the vector comes from, how near scores lie
    report.check('input', network.image.shape, (network.record['H'], network.record['W'], 3))
    for variant in sorted({match.group(1) for match in vector.matching(r'test_((?:py|cxx)\d*)_.+')}):
        _check_test(network, variant, report)
    _check_maps(network, report)
    _check_alone(network, 'rpn', network.inputs, report)
    if 'rfcn_rois' in vector:
        _check_alone(network, 'rfcn', {'data': network.inputs['data'], 'rois': vector['rfcn_rois']}, report)
    check_training(network, report)


def _check_test(network, variant, report):
    """End to end; `variant` is py or cxx, and how many proposals if not POST."""
    native, proposals = variant.startswith('cxx'), int(variant.lstrip('pycx') or network.record['POST'])
    cfg = network.config('TEST', CXX_PROPOSAL=native, RPN_POST_NMS_TOP_N=proposals)
    symbol = build_graph(cfg, 'e2e', is_train=False)
    internals = symbol.get_internals()
    ours = network.predict(mx.sym.Group(list(symbol) + [internals[name] for name in OF_RPN]), network.inputs, SEED_TEST)
    check_outputs(network.vector, 'test_%s_' % variant, ours, report)
    key = 'test_%s_unique_rois' % variant
    if key in network.record:
        report.check(key, len(np.unique(ours['rois'], axis=0)), network.record[key])


def _check_maps(network, report):
    """Feature maps: the first channels, and measures of all."""
    records = {match.group(1): record for match, record in network.record.numbered('feat_(.+)')}
    if not records:
        return
    internals = build_graph(network.config(), 'e2e', is_train=False).get_internals()
    blobs = {name: internals[blob_output(name, internals)] for name in records}
    ours = network.predict(mx.sym.Group(list(blobs.values())), {'data': network.inputs['data']}, SEED_TEST)
    for name, record in records.items():
        report.title, values = 'feature map ' + name, ours[blobs[name].name]
        report.check('shape', values.shape, record['shape'])
        exact = values.astype(np.float64)
        for key, measure in (('mean', exact.mean()), ('std', exact.std()), ('l2', np.linalg.norm(exact))):
            report.check(key, measure, record[key], NETWORK)
        for match in network.vector.matching(r'feat_%s_first(\d+)ch' % re.escape(name)):
            channels = int(match.group(1))
            report.check('first %d channels' % channels, values[0, :channels], network.vector[match.group(0)], NETWORK)
    report.title = ''


def blob_output(name, internals):
    """Name of the output that a feature map such as res5c or rfcn_bbox stands for: behind its ReLU, if it has one."""
    relu = name + '_relu_output'
    return relu if relu in internals.list_outputs() else name + '_output'


def _check_alone(network, graph, inputs, report):
    """The test graph of the RPN, or of R-FCN on given RoIs."""
    prefix = graph + '_test_'
    if network.vector.matching(prefix + '.+'):
        ours = network.predict(build_graph(network.config(), graph, is_train=False), inputs, SEED_RPN_TEST)
        check_outputs(network.vector, prefix, ours, report)


def check_outputs(vector, prefix, ours, report):
    """The arrays of a vector whose names begin with `prefix`; RoIs in another order are put into theirs first."""
    names = '(rois|score|cls_prob|bbox_pred|rpn_cls_prob|rpn_bbox_pred)'
    order, note = slice(None), ''
    if prefix + 'rois' in vector:
        order = match_rows(ours['rois'], vector[prefix + 'rois'], PIXELS.absolute)
        note = '' if np.all(np.diff(order) == 1) else 'rows in another order'
    for match in vector.matching(re.escape(prefix) + names):
        name = match.group(1)
        value = ours[OUTPUT_NAMES.get(name, name)]
        if not name.startswith('rpn_'):
            value = value[order] if value.ndim == 2 else value[:, order]
        report.check(match.group(0), value, vector[match.group(0)], TOLERANCES.get(name, NETWORK), note=note)


# Of weights, in units of sqrt(2 / inputs of an output); all others have 1.
_GAINS = {'rpn_cls_score': 0.3, 'rpn_bbox_pred': 0.07, 'rfcn_bbox': 0.3, 'rfcn_cls': 1.5,
          'rfcn_cls_offset_t': 3.0, 'rfcn_bbox_offset_t': 3.0}
_GAINS.update(('res5%s_branch2b_offset' % unit, 0.3) for unit in 'abc')


def _weight(name, normal):
    inputs = float(np.prod(normal.shape[1:]))
    return normal * np.sqrt(2.0 / inputs) * _GAINS.get(name[:-len('_weight')], 1.0)


def _gamma(name, normal):
    # The last of a residual unit is small, or the sums of 33 units would grow without bound.
    return (1.0 + 0.2 * normal) * (0.2 if 'branch2c' in name else 1.0)


_RULES = {
    '_weight': _weight,
    '_bias': lambda name, normal: 0.05 * normal,
    '_gamma': _gamma,
    '_beta': lambda name, normal: 0.1 * normal,
    '_moving_mean': lambda name, normal: normal * (10.0 if name == 'bn_conv1_moving_mean' else 0.1),
    '_moving_var': lambda name, normal: np.exp(0.2 * normal) * (1e4 if name == 'bn_conv1_moving_var' else 1.0),
}


def make_parameter(name, shape, salt):
    """The parameter of that name and shape, float32.

    Raises:
        ValueError: no rule is known for the end of the name.
    """
    rules = [rule for ending, rule in _RULES.items() if name.endswith(ending)]
    if not rules:
        raise ValueError('no rule for the parameter %s: its name ends with none of %s' % (name, ', '.join(_RULES)))
    seed = (zlib.crc32(name.encode('ascii')) ^ salt) & 0xffffffff
    return rules[0](name, np.random.RandomState(seed).standard_normal(shape)).astype(np.float32)
