"""One training step of whole networks: targets, losses, gradients, the update."""
import mxnet as mx
import numpy as np

from experiments.compare.graphs import build_graph
from experiments.compare.report import EXACT, NETWORK, PLAIN, PROBABILITY, Tolerance
from experiments.compare.rows import exchange_copies, match_rows
from experiments.compare.targets import ANCHOR_KEYS, DRAW, UNTOUCHED
from lib.rpn.anchor_target import as_blobs, assign_anchor
from lib.rpn.generate_anchor import generate_anchors, shifted_anchors
from rfcn.build import feature_shape
from rfcn.core.module import TrainModule
from rfcn.training import optimizer_params

SEED_ANCHORS = 2  # added to a vector's salt
IMAGES_OF_A_SCHEDULE = 10000  # so many that the first step lies in the warm-up
DATA = {'e2e': ('data', 'im_info', 'gt_boxes'), 'rpn': ('data',), 'rfcn': ('data', 'rois')}
LABELS = ('label', 'bbox_target', 'bbox_weight')
ARRAYS = {'e2e': '%s_', 'rpn': '%s_train_', 'rfcn': '%s_'}  # how the arrays of a variant begin
TOLERANCES = {'rcnn_label': EXACT, 'cls_prob': PROBABILITY, 'rpn_cls_prob': PROBABILITY}
COPIES = 'of the copies of one RoI, whose losses are equal, others are kept, as many'
# Two convolutions that round differently let a ReLU switch here and there. That moves the norm of a gradient by up to 7e-4, its
# elements by more, and their sum by up to 1e-4 of what it could be, the norm times the root of their number.
NORMS = Tolerance('0.5 %', absolute=0.005)
SUMS = Tolerance('5e-4 of norm*n^.5', absolute=5e-4)
LARGEST = Tolerance('1 %', absolute=0.01)
ELEMENTS = Tolerance('0.5 % of largest', absolute=0.005)


def check_training(network, report):
    """The anchors' targets, then one step of each variant that the json describes."""
    if 'rpn_label' in network.vector:
        _check_targets(network, report)
    for variant in network.record['train']:
        check_step(network, variant, network.record['train'][variant], report)
    network.record.note('OHEM')  # stands in the variants' overrides


def _check_targets(network, report):
    """Labels and box targets of the anchors."""
    cfg, vector = network.config(), network.vector
    height, width = feature_shape(build_graph(cfg, 'e2e', is_train=False))(*network.inputs['data'].shape[2:])
    stride = cfg.network.RPN_FEAT_STRIDE
    anchors = shifted_anchors(height, width, stride, generate_anchors(stride, cfg.network.ANCHOR_RATIOS, cfg.network.ANCHOR_SCALES))
    settings = {keyword: cfg.TRAIN[key] for key, keyword in ANCHOR_KEYS.items()}

    def run(**switch):
        rng = np.random.RandomState(network.salt + SEED_ANCHORS)
        targets = assign_anchor(anchors, vector['gt_boxes'], vector['im_info'][0, :2], rng=rng, **settings, **switch)
        return as_blobs(*targets, height, width)
    theirs = {name: vector['rpn_' + name] for name in LABELS}
    report.check_all('anchors', run(), theirs, PLAIN, lambda: run(untouched_objects_match=True), UNTOUCHED)


def check_step(network, variant, record, report):
    """Forward, backward and update of one variant: e2e_<any>, rpn, or rfcn_<any>."""
    graph = variant.split('_')[0]
    cfg = network.config(**record.get('overrides', {}))
    data, label = step_inputs(network.vector, network.inputs, graph)
    module = start_module(network, cfg, build_graph(cfg, graph, is_train=True), data, label)
    np.random.seed(record.get('npr_seed_before_forward', 0))
    module.forward_backward(network.batch(data, label))
    outputs = {name: value.asnumpy() for name, value in module.named_outputs().items()}
    draw = np.random.randint(1 << 30)
    if 'npr_randint_2p30_after' in record:
        report.check('%s: %s' % (variant, DRAW), draw, record['npr_randint_2p30_after'])
    _check_outputs(network.vector, ARRAYS[graph] % variant, outputs, report)
    for key, count in (('n_fg', lambda label: label > 0), ('n_kept', lambda label: label != -1)):
        if key in record:
            report.check('%s: %s' % (variant, key), np.sum(count(outputs['rcnn_label'])), record[key])
    if graph == 'e2e' and variant == min(v for v in network.record['train'] if v.startswith('e2e')):
        report.check('fixed parameters', len(module._fixed_param_names), network.record['fixed_params_e2e'])
    _check_gradients(variant, gradients(module), record, report)
    if 'sgd_first_step_delta_l2' in record:
        _check_update(variant, module, record['sgd_first_step_delta_l2'], report)


def step_inputs(vector, inputs, graph):
    """Data and label arrays of a graph, by name."""
    sources = {'data': lambda: inputs['data'], 'im_info': lambda: inputs['im_info'], 'gt_boxes': lambda: vector['gt_boxes'][None],
               'rois': lambda: vector['rfcn_rois']}
    prefix = 'rfcn_' if graph == 'rfcn' else 'rpn_'
    return {name: sources[name]() for name in DATA[graph]}, {name: vector[prefix + name] for name in LABELS}


def start_module(network, cfg, symbol, data, label):
    """The module as training makes it, with the vector's parameters."""
    module = TrainModule(symbol, list(data), list(label), [mx.cpu()], fixed=cfg.network.FIXED_PARAMS)
    module.start(network.batch(data, label), *network.parameters(symbol, dict(data, **label)), kvstore='local',
                 optimizer_params=optimizer_params(cfg, IMAGES_OF_A_SCHEDULE, 1))
    return module


def gradients(module):
    """Parameter name -> gradient of the last step, of those that are trained, in float64."""
    grads = module._exec_group.execs[0].grad_dict
    return {name: grads[name].asnumpy().astype(np.float64) for name in module._param_names if grads.get(name) is not None}


def _check_outputs(vector, prefix, ours, report):
    """Those outputs that the vector holds; rows of RoIs first put into their order."""
    rois = {name: ours[name].reshape(ours['cls_prob'].shape[1], -1) for name in ('cls_prob', 'bbox_loss', 'rcnn_label') if name in ours}
    if prefix + 'cls_prob' in vector:
        theirs = vector[prefix + 'cls_prob']
        order = match_rows(rois['cls_prob'], theirs.reshape(-1, theirs.shape[-1]), PROBABILITY.absolute)
        rois = {name: rows[order] for name, rows in rois.items()}
    for name in ours:
        if prefix + name not in vector:
            continue
        theirs, tolerance, value = vector[prefix + name], TOLERANCES.get(name, NETWORK), ours[name]
        if name in rois:
            value = rois[name].reshape(value.shape)

        def exchanged():
            near = 0 if tolerance is EXACT else 1e-4 * np.abs(theirs).max()
            return exchange_copies(rois[name], theirs.reshape(rois[name].shape), rois['cls_prob'], near).reshape(value.shape)
        report.check(prefix + name, value, theirs, tolerance, exchanged if name in ('rcnn_label', 'bbox_loss') else None, COPIES)


def _check_gradients(variant, ours, record, report):
    """Of all trained parameters at once; the largest error counts."""
    theirs = record['grads'] if 'grads' in record else {name: {'l2': norm} for name, norm in record['grad_l2'].items()}
    report.check(variant + ': trained parameters', sorted(ours), sorted(theirs))
    names = [name for name in theirs if name in ours]

    def row(what, key, measure, scale, tolerance):
        values = [(measure(ours[name]), np.array(theirs[name][key]), scale(name)) for name in names if key in theirs[name]]
        if values:
            report.check('%s: gradients, %s' % (variant, what), np.array([ours / unit for ours, _, unit in values]),
                         np.array([theirs / unit for _, theirs, unit in values]), tolerance)
    row('norm', 'l2', np.linalg.norm, lambda name: theirs[name]['l2'] or 1.0, NORMS)
    row('sum', 'sum', np.sum, lambda name: (theirs[name]['l2'] or 1.0) * np.sqrt(ours[name].size), SUMS)
    row('largest', 'absmax', lambda grad: np.abs(grad).max(), lambda name: theirs[name]['absmax'] or 1.0, LARGEST)
    row('first four', 'first4', lambda grad: grad.ravel()[:4], lambda name: theirs[name]['absmax'] or 1.0, ELEMENTS)


def _check_update(variant, module, theirs, report):
    """By how much an update moves each parameter."""
    weights = module._exec_group.execs[0].arg_dict
    before = {name: weights[name].asnumpy().astype(np.float64) for name in theirs}
    module.update()
    moved = np.array([np.linalg.norm(weights[name].asnumpy() - before[name]) for name in theirs])
    norms = np.array([theirs[name] for name in theirs])
    report.check(variant + ': update, norm', moved / norms, np.ones(len(norms)), NORMS)
