"""RoIs from the RPN's output: by our operator and by MXNet's."""
import zlib

import mxnet as mx
import numpy as np

from experiments.compare.boxes import UNLIMITED
from experiments.compare.report import PIXELS, PROBABILITY
from experiments.compare.targets import DRAW
from lib.rpn.anchors import generate_anchors
from lib.rpn.proposal import propose
from rfcn.operator_py.proposal import proposal

STRIDE = 16  # of the format
INPUTS = ('cls_prob', 'bbox_pred', 'im_info')


def check_proposal(vector, report):
    """Rows, scores and random draws of the Python operator; rows and scores of the native one."""
    for i, case in vector.cases('py_rois_%d'):
        report.title = 'case %d' % i
        inputs = rpn_output(case, vector, i)
        for name in INPUTS[:2]:
            report.check('crc32 of ' + name, zlib.crc32(inputs[name].tobytes()), case['crc_' + name])
        python = run_operator(proposal, inputs, case)
        native = run_operator(mx.sym.contrib.MultiProposal, inputs, case)
        report.check_all(python, {'rois': vector['py_rois_%d' % i], 'different rois': case['py_unique'],
                                  DRAW: case['npr_randint_2p30_after']},
                         PIXELS, lambda: run_unlimited(inputs, case), UNLIMITED)
        report.check('scores', python['scores'], vector['py_score_%d' % i], PROBABILITY,
                     lambda: run_unlimited(inputs, case)['scores'], UNLIMITED)
        report.check_all(agreement(python, native, case), {
            'rows that the two share': case['same_rows_py_cxx'],
            'the first 100 rows are shared': case['first_100_equal'],
            'largest distance of the two': case['max_abs_py_cxx_common_prefix']}, PIXELS,
            lambda: agreement(run_unlimited(inputs, case), native, case), UNLIMITED)
        case.note('cpu_nms_same_as_py_nms')  # of the original's two NMS; ours are compared in the vector nms
        report.title += ', native'
        report.check_all(native, {'rois': vector['cxx_rois_%d' % i], 'different rois': case['cxx_unique']}, PIXELS)
        report.check('scores', native['scores'], vector['cxx_score_%d' % i], PROBABILITY)


def rpn_output(case, vector, i):
    """The inputs of case i by name; scores and deltas are stored, or made again from their seed."""
    rng = np.random.RandomState(case['input_seed'])
    cells = (case['A'], case['fh'], case['fw'])
    total = int(np.prod(cells))
    foreground = ((rng.permutation(total) + 0.5) / total).astype(np.float32).reshape((1,) + cells)
    deltas = rng.randn(1, 4 * cells[0], *cells[1:]) * case['bbox_std']
    inputs = {'cls_prob': np.concatenate((1 - foreground, foreground), axis=1), 'bbox_pred': deltas.astype(np.float32)}
    if case['inputs_stored']:
        inputs = {name: vector['%s_%d' % (name, i)] for name in inputs}
    return dict(inputs, im_info=np.array([case['im_info']], dtype=np.float32))


def run_operator(operator, inputs, case):
    """RoIs and scores by one of the two operators of the graphs, seeded."""
    variables = {name: mx.sym.Variable(name) for name in INPUTS}
    symbol = operator(name='rois', feature_stride=STRIDE, scales=tuple(case['scales']), ratios=tuple(case['ratios']),
                      rpn_pre_nms_top_n=case['rpn_pre_nms_top_n'], rpn_post_nms_top_n=case['rpn_post_nms_top_n'],
                      threshold=case['threshold'], rpn_min_size=case['rpn_min_size'], output_score=True, **variables)
    executor = symbol.bind(mx.cpu(), {name: mx.nd.array(array) for name, array in inputs.items()})
    np.random.seed(case['npr_seed'])
    return describe(*[output.asnumpy() for output in executor.forward()], np.random)


def run_unlimited(inputs, case):
    """The same by the library, believing any exponent."""
    rng = np.random.RandomState(case['npr_seed'])
    base_anchors = generate_anchors(STRIDE, case['ratios'], case['scales'])
    boxes, scores = propose(inputs['cls_prob'][0, case['A']:], inputs['bbox_pred'][0], inputs['im_info'][0],
                            base_anchors=base_anchors, stride=STRIDE, pre_nms_top_n=case['rpn_pre_nms_top_n'],
                            post_nms_top_n=case['rpn_post_nms_top_n'], nms_thresh=case['threshold'],
                            min_size=case['rpn_min_size'], max_log_ratio=None, rng=rng)
    return describe(np.insert(boxes, 0, 0, axis=1), scores, rng)


def describe(rois, scores, rng):
    """What a vector holds of RoIs: also how many differ, and what is drawn next."""
    return {'rois': rois, 'scores': scores, 'different rois': len(np.unique(rois, axis=0)), DRAW: rng.randint(1 << 30)}


def agreement(python, native, case):
    """How far the two operators agree: the json states it of the original's."""
    distance = np.abs(python['rois'] - native['rois']).max(axis=1)
    near = distance <= PIXELS.absolute
    prefix = min(case['py_unique'], case['cxx_unique'])
    return {'rows that the two share': int(near.sum()), 'the first 100 rows are shared': bool(near[:100].all()),
            'largest distance of the two': distance[:prefix].max()}
