"""Whole networks with parameters that anyone can make again: outputs of the test graphs and feature maps."""
import re

import mxnet as mx
import numpy as np

from experiments.compare import network_training
from experiments.compare.graphs import build_graph, release_config
from experiments.compare.images import PIXEL_MEANS
from experiments.compare.parameters import make_parameter
from experiments.compare.report import NETWORK, PIXELS, PROBABILITY
from experiments.compare.rows import match_rows
from lib.utils.image import transform
from rfcn.core.predictor import Predictor

# What is added to a vector's salt to seed each part.
SEED_TEST, SEED_RPN_TEST = 1, 6
TOLERANCES = {'rois': PIXELS, 'score': PROBABILITY, 'cls_prob': PROBABILITY, 'rpn_cls_prob': PROBABILITY}
OUTPUT_NAMES = {'rpn_cls_prob': 'rpn_cls_act', 'score': 'rois_score'}  # where ours say something else


class Network(object):
    """A vector with its configuration, inputs and parameters.

    Args:
        vector: net_<name>.
    """

    def __init__(self, vector):
        self.vector = vector
        self.record = vector.record
        self.salt = self.record['salt']
        self.inputs = {'data': transform(vector['image_bgr_uint8'], PIXEL_MEANS), 'im_info': vector['im_info']}
        self._parameters = {}

    def config(self, **changes):
        """The configuration with other values; names as in TRAIN, or with their section: TEST__RPN_POST_NMS_TOP_N."""
        return release_config(self.record['config'], {key.replace('__', '.') if '__' in key else 'TRAIN.' + key: value
                                                      for key, value in changes.items()})

    def parameters(self, symbol, inputs):
        """arg_params and aux_params of a graph; made once for all graphs."""
        arguments, _, statistics = symbol.infer_shape(**{name: array.shape for name, array in inputs.items()})
        shapes = (dict(zip(symbol.list_arguments(), arguments)), dict(zip(symbol.list_auxiliary_states(), statistics)))
        return tuple({name: self._parameter(name, shape) for name, shape in named.items() if name not in inputs} for named in shapes)

    def _parameter(self, name, shape):
        if (name, shape) not in self._parameters:
            self._parameters[name, shape] = mx.nd.array(make_parameter(name, shape, self.salt))
        return self._parameters[name, shape]

    def predict(self, symbol, inputs, seed):
        """Outputs of a test graph by name, seeded."""
        predictor = Predictor(symbol, list(inputs), [mx.cpu()], *self.parameters(symbol, inputs))
        np.random.seed(self.salt + seed)
        return predictor.predict(self.batch(inputs))

    @staticmethod
    def batch(data, label=()):
        """A DataBatch of dicts of arrays."""
        def described(arrays):
            return [mx.io.DataDesc(name, array.shape) for name, array in arrays.items()]
        label = dict(label)
        return mx.io.DataBatch(data=[mx.nd.array(array) for array in data.values()],
                               label=[mx.nd.array(array) for array in label.values()],
                               provide_data=described(data), provide_label=described(label))


def check_network(vector, report):
    """All graphs of one network."""
    network = Network(vector)
    network.record.note('which', 'image', 'min_rpn_score_gap')  # where the vector comes from, how near the scores lie
    report.check('input', vector['image_bgr_uint8'].shape, (network.record['H'], network.record['W'], 3))
    for variant in sorted({match.group(1) for match in vector.matching(r'test_([a-z]+\d*)_.+')}):
        _check_test(network, variant, report)
    _check_alone(network, 'rpn', report)
    _check_alone(network, 'rfcn', report)
    network_training.check_training(network, report)


def _check_test(network, variant, report):
    """End to end; `variant` is py or cxx, and how many proposals if not POST. Feature maps are read in the same run."""
    native, proposals = variant.startswith('cxx'), variant.lstrip('pycx')
    cfg = network.config(TEST__CXX_PROPOSAL=native, TEST__RPN_POST_NMS_TOP_N=int(proposals or network.record['POST']))
    symbol = build_graph(cfg, 'e2e', is_train=False)
    internals = symbol.get_internals()
    maps = {}
    if variant == 'py':
        maps = {match.group(1): internals[blob_output(match.group(1), internals)] for match, _ in network.record.numbered('feat_(.+)')}
    group = mx.sym.Group(list(symbol) + [internals['rpn_cls_act_reshape_output'], internals['rpn_bbox_pred_output']] + list(maps.values()))
    ours = network.predict(group, network.inputs, SEED_TEST)
    check_outputs(network.vector, 'test_%s_' % variant, ours, report)
    if 'test_%s_unique_rois' % variant in network.record:
        report.check('test_%s: different rois' % variant, len(np.unique(ours['rois'], axis=0)),
                     network.record['test_%s_unique_rois' % variant])
    for name, blob in maps.items():
        _check_map(network, name, ours[blob.name], report)


def blob_output(name, internals):
    """Name of the output that a feature map such as res5c or rfcn_bbox stands for: behind its ReLU, if it has one."""
    names = internals.list_outputs()
    return name + '_relu_output' if name + '_relu_output' in names else name + '_output'


def _check_map(network, name, ours, report):
    record, title = network.record['feat_' + name], 'feature map ' + name
    report.check(title + ': shape', ours.shape, record['shape'])
    measures = {'mean': np.mean, 'std': np.std, 'l2': lambda values: np.sqrt(np.sum(values ** 2))}
    for key in measures:
        report.check('%s: %s' % (title, key), measures[key](ours.astype(np.float64)), record[key], NETWORK)
    for match in network.vector.matching(r'feat_%s_first(\d+)ch' % name):
        report.check(match.group(0), ours[0, :int(match.group(1))], network.vector[match.group(0)], NETWORK)


def _check_alone(network, graph, report):
    """The test graph of the RPN, or of R-FCN on given RoIs."""
    prefix = graph + '_test_'
    if not network.vector.matching(prefix + '.+'):
        return
    inputs = network.inputs if graph == 'rpn' else {'data': network.inputs['data'], 'rois': network.vector['rfcn_rois']}
    ours = network.predict(build_graph(network.config(), graph, is_train=False), inputs, SEED_RPN_TEST)
    check_outputs(network.vector, prefix, ours, report)


def check_outputs(vector, prefix, ours, report):
    """The arrays of a vector whose names begin with `prefix`; RoIs in another order are put into theirs first."""
    names = [match.group(1) for match in vector.matching(re.escape(prefix) + '(rois|score|cls_prob|bbox_pred|rpn_cls_prob|rpn_bbox_pred)')]
    order = match_rows(ours['rois'], vector[prefix + 'rois'], PIXELS.absolute) if prefix + 'rois' in vector else None
    reordered = order is not None and np.any(np.diff(order) != 1)
    for name in names:
        value = ours[OUTPUT_NAMES.get(name, name)]
        if reordered and not name.startswith('rpn_'):
            value = value[order] if value.ndim == 2 else value[:, order]
        report.check(prefix + name, value, vector[prefix + name], TOLERANCES.get(name, NETWORK),
                     note='rows in another order' if reordered else '')
