"""One training step of whole networks: targets, losses, gradients, the update.

Rows, one for each RoI, may stand in another order: where scores differ by less than two convolutions do, and where RoIs
are copies of each other. `match_rows` and `exchange_copies` bring them together.
"""
import mxnet as mx
import numpy as np

from experiments.compare.graphs import build_graph
from experiments.compare.report import EXACT, NETWORK, PLAIN, PROBABILITY, Tolerance
from experiments.compare.targets import ANCHOR_KEYS, DRAW, UNTOUCHED
from lib.rpn.anchors import as_blobs, assign_anchor, generate_anchors, shifted_anchors
from rfcn.core.loader import Batch
from rfcn.core.module import TrainModule
from rfcn.core.target_loaders import feature_shape
from rfcn.training import optimizer_params

SEED_ANCHORS = 2  # added to a vector's salt
IMAGES_OF_A_SCHEDULE = 10000  # so many that the first step lies in the warm-up
DATA = {'e2e': ('data', 'im_info', 'gt_boxes'), 'rpn': ('data',), 'rfcn': ('data', 'rois')}
LABELS = ('label', 'bbox_target', 'bbox_weight')
ARRAYS = {'e2e': '%s_', 'rpn': '%s_train_', 'rfcn': '%s_'}  # how the arrays of a variant begin
OF_ROIS = ('cls_prob', 'bbox_loss', 'rcnn_label')
TOLERANCES = {'rcnn_label': EXACT, 'cls_prob': PROBABILITY, 'rpn_cls_prob': PROBABILITY}
COPIES = 'of the copies of one RoI, whose losses are equal, others are kept, as many'
# Convolutions that round differently let a ReLU switch here and there. That moves the norm of a gradient by up to 7e-4,
# its elements by more, and their sum by up to 1e-4 of the most it could be, the norm times the root of their number.
NORMS = Tolerance('0.5 %', absolute=0.005)
SUMS = Tolerance('5e-4 of norm*n^.5', absolute=5e-4)
LARGEST = Tolerance('1 %', absolute=0.01)
ELEMENTS = Tolerance('0.5 % of largest', absolute=0.005)


def check_training(network, report):
    """The anchors' targets, then one step of each variant that the json describes."""
    record = network.record
    if 'rpn_label' in network.vector:
        _check_targets(network, report)
    for variant, step in record['train'].items():
        report.title = variant
        check_step(network, variant, step, report)
    report.title = ''
    fixed = start_module(network, network.config(), 'e2e').fixed_names
    report.check('fixed parameters', len(fixed), record['fixed_params_e2e'])
    record.note('OHEM')  # stands in the variants' overrides


def _check_targets(network, report):
    """Labels and box targets of the anchors."""
    theirs = {name: network.vector['rpn_' + name] for name in LABELS}
    report.title = 'anchors'
    report.check_all(anchor_targets(network), theirs, PLAIN,
                     lambda: anchor_targets(network, untouched_objects_match=True), UNTOUCHED)


def anchor_targets(network, **switch):
    """label, bbox_target and bbox_weight of the RPN, by name."""
    cfg, vector = network.config(), network.vector
    height, width = feature_shape(build_graph(cfg, 'e2e', is_train=False))(*network.inputs['data'].shape[2:])
    stride = cfg.network.RPN_FEAT_STRIDE
    anchors = shifted_anchors(height, width, stride,
                              generate_anchors(stride, cfg.network.ANCHOR_RATIOS, cfg.network.ANCHOR_SCALES))
    settings = {keyword: cfg.TRAIN[key] for key, keyword in ANCHOR_KEYS.items()}
    rng = np.random.RandomState(network.salt + SEED_ANCHORS)
    targets = assign_anchor(anchors, vector['gt_boxes'], vector['im_info'][0, :2], rng=rng, **settings, **switch)
    return as_blobs(*targets, height, width)


def check_step(network, variant, record, report):
    """Forward, backward and update of one variant: e2e_<any>, rpn, or rfcn_<any>."""
    graph = variant.split('_')[0]
    module = start_module(network, network.config(**record.get('overrides', {})), graph)
    np.random.seed(record.get('npr_seed_before_forward', 0))
    module.forward_backward(Batch(*step_inputs(network, graph)))
    outputs = {name: value.asnumpy() for name, value in module.named_outputs().items()}
    draw = np.random.randint(1 << 30)
    if 'npr_randint_2p30_after' in record:
        report.check(DRAW, draw, record['npr_randint_2p30_after'])
    check_step_outputs(network.vector, ARRAYS[graph] % variant, outputs, report)
    for key, counted in (('n_fg', lambda label: label > 0), ('n_kept', lambda label: label != -1)):
        if key in record:
            report.check(key, np.sum(counted(outputs['rcnn_label'])), record[key])
    _check_gradients(gradients(module), record, report)
    if 'sgd_first_step_delta_l2' in record:
        _check_update(module, record['sgd_first_step_delta_l2'], report)


def step_inputs(network, graph):
    """Data and label arrays of a graph, by name."""
    vector = network.vector
    arrays = {'gt_boxes': lambda: vector['gt_boxes'][None], 'rois': lambda: vector['rfcn_rois']}
    data = {name: network.inputs[name] if name in network.inputs else arrays[name]() for name in DATA[graph]}
    return data, {name: vector[('rfcn_' if graph == 'rfcn' else 'rpn_') + name] for name in LABELS}


def start_module(network, cfg, graph):
    """The module as training makes it, with the vector's parameters."""
    data, label = step_inputs(network, graph)
    symbol = build_graph(cfg, graph, is_train=True)
    module = TrainModule(symbol, list(data), list(label), [mx.cpu()], fixed=cfg.network.FIXED_PARAMS)
    module.start(Batch(data, label), *network.parameters(symbol, dict(data, **label)), kvstore='local',
                 optimizer_params=optimizer_params(cfg, IMAGES_OF_A_SCHEDULE))
    return module


def gradients(module):
    """Parameter name -> gradient of the last step, of those that are trained, in float64."""
    return {name: gradient.asnumpy().astype(np.float64) for name, gradient in module.gradients().items()}


def check_step_outputs(vector, prefix, ours, report):
    """Those outputs that the vector holds."""
    rows = rows_in_order(vector, prefix, ours)
    for name in ours:
        if prefix + name not in vector:
            continue
        theirs, tolerance, exchanged = vector[prefix + name], TOLERANCES.get(name, NETWORK), None
        value = rows[name].reshape(ours[name].shape) if name in rows else ours[name]
        if name in ('bbox_loss', 'rcnn_label'):
            near = tolerance.absolute + tolerance.of_max * np.abs(theirs).max()

            def exchanged(name=name, theirs=theirs, near=near):
                their_rows = theirs.reshape(rows[name].shape)
                return exchange_copies(rows[name], their_rows, rows['cls_prob'], near).reshape(theirs.shape)
        report.check(name, value, theirs, tolerance, exchanged, COPIES)


def rows_in_order(vector, prefix, ours):
    """Outputs that have a row for each RoI, (R, n), in the order of the vector's cls_prob."""
    rows = {name: ours[name].reshape(ours['cls_prob'].shape[1], -1) for name in OF_ROIS if name in ours}
    if prefix + 'cls_prob' not in vector:
        return rows
    theirs = vector[prefix + 'cls_prob']
    order = match_rows(rows['cls_prob'], theirs.reshape(-1, theirs.shape[-1]), PROBABILITY.absolute)
    return {name: values[order] for name, values in rows.items()}


def _check_gradients(ours, record, report):
    """Compare the gradients of all trained parameters at once; the largest error counts."""
    theirs = record['grads'] if 'grads' in record else {name: {'l2': norm} for name, norm in record['grad_l2'].items()}
    report.check('trained parameters', sorted(ours), sorted(theirs))
    measures = {
        'l2': (np.linalg.norm, lambda name: theirs[name]['l2'], NORMS),
        'sum': (np.sum, lambda name: theirs[name]['l2'] * np.sqrt(ours[name].size), SUMS),
        'absmax': (lambda gradient: np.abs(gradient).max(), lambda name: theirs[name]['absmax'], LARGEST),
        'first4': (lambda gradient: gradient.ravel()[:4], lambda name: theirs[name]['absmax'], ELEMENTS),
    }
    for key, (measure, unit, tolerance) in measures.items():
        names = [name for name in theirs if name in ours and key in theirs[name]]
        units = [unit(name) or 1.0 for name in names]
        if names:
            report.check('gradients, ' + key, np.array([measure(ours[name]) / u for name, u in zip(names, units)]),
                         np.array([np.array(theirs[name][key]) / u for name, u in zip(names, units)]), tolerance)


def _check_update(module, theirs, report):
    """How far an update moves each parameter."""
    before = module.get_params()[0]
    module.update()
    after = module.get_params()[0]
    moved = [np.linalg.norm(after[name].asnumpy().astype(np.float64) - before[name].asnumpy()) / (norm or 1.0)
             for name, norm in theirs.items()]
    report.check('update, l2', moved, [1.0 if norm else 0.0 for norm in theirs.values()], NORMS)


def match_rows(ours, theirs, near):
    """Numbers of our rows in their order, (R,); the numbers as they are where no other order brings the two together.

    Args:
        ours, theirs: (R, n).
        near: how far apart two elements of the same row may be.
    """
    numbers = np.arange(len(ours))
    if ours.shape != theirs.shape or np.all(np.abs(ours - theirs) <= near):
        return numbers
    order, free = [], np.ones(len(ours), dtype=bool)
    for row in theirs:
        candidates = np.flatnonzero(free & np.all(np.abs(ours - row) <= near, axis=1))
        if not len(candidates):
            return numbers
        order.append(candidates[0])
        free[candidates[0]] = False
    return np.array(order)


def exchange_copies(ours, theirs, fingerprints, near):
    """Our rows after those with equal fingerprints have changed places where that brings them to theirs.

    Args:
        ours, theirs: (R, n). fingerprints: (R, m). near: see `match_rows`.
    """
    if ours.shape != theirs.shape:
        return ours
    exchanged = ours.copy()
    groups = np.unique(fingerprints, axis=0, return_inverse=True)[1].ravel()
    for group in np.flatnonzero(np.bincount(groups) > 1):
        rows = np.flatnonzero(groups == group)
        exchanged[rows] = ours[rows][match_rows(ours[rows], theirs[rows], near)]
    return exchanged
