"""What surrounds a training step: hard examples, metrics, schedule, order of the images, the checkpoint's box layer."""
import re

import mxnet as mx
import numpy as np

from experiments.compare.report import EXACT, PLAIN, Tolerance
from lib.rcnn.ohem import box_annotator_ohem as ohem_in_numpy
from lib.utils.epoch_order import epoch_order
from rfcn.core.checkpoint import unnormalised_bbox
from rfcn.core.loader import Loader
from rfcn.core.metric import TrainingMetrics
from rfcn.core.schedule import lr_schedule
from rfcn.operator_py.box_annotator_ohem import box_annotator_ohem

WHOLE_BATCHES = 'batches are shuffled also where they come out even; the release then shuffles none (shuffle_whole_batches=False)'
TAIL = 'an epoch has one more batch: the incomplete last one is filled up with the first images, the release drops it'
RESUMED = 'counted from the start of training, also on resuming; the release counts from the epoch that it resumes at'
OHEM_INPUTS = ('cls_score', 'bbox_pred', 'labels', 'bbox_targets', 'bbox_weights')


def check_ohem(vector, report):
    """Labels and weights that hard example mining leaves, in NumPy and in the graph."""
    for i, case in vector.cases('cls_score_%d'):
        inputs = {name: vector['%s_%d' % (name, i)] for name in OHEM_INPUTS}
        report.check('case %d: shapes' % i, [inputs['cls_score'].shape, inputs['bbox_pred'].shape],
                     [(case['n'], case['num_classes']), (case['n'], 4 * case['num_reg_classes'])])
        numpy = ohem_in_numpy(roi_per_img=case['roi_per_img'], **inputs)
        graph = _ohem_in_graph(inputs, case['roi_per_img'])
        for where, (labels, weights) in (('', numpy), (', in the graph', graph)):
            report.check('case %d: labels%s' % (i, where), labels, vector['labels_ohem_%d' % i])
            report.check('case %d: bbox_weights%s' % (i, where), weights, vector['bbox_weights_ohem_%d' % i])
            report.check('case %d: RoIs kept%s' % (i, where), np.sum(labels != -1), case['kept'])
        case.note('seed')  # of the stored inputs


def _ohem_in_graph(inputs, rois_per_image):
    symbols = box_annotator_ohem(*[mx.sym.Variable(name) for name in OHEM_INPUTS], batch_images=1, rois_per_image=rois_per_image)
    executor = mx.sym.Group(list(symbols)).bind(mx.cpu(), {name: mx.nd.array(array) for name, array in inputs.items()})
    return [output.asnumpy() for output in executor.forward()]


def check_checkpoint(vector, report):
    """The box layer for deltas that are not normalised."""
    for i in vector.indices('weight_%d'):
        means = vector['means_%d' % i]
        params = {'rfcn_bbox_' + name: mx.nd.array(vector['%s_%d' % (name, i)]) for name in ('weight', 'bias')}
        ours = unnormalised_bbox(params, means, vector['stds_%d' % i], params['rfcn_bbox_bias'].size // len(means))
        for name in ('weight', 'bias'):
            report.check('%s %d' % (name, i), ours['rfcn_bbox_%s_test' % name].asnumpy(), vector['%s_test_%d' % (name, i)], PLAIN)


def check_metrics(vector, report):
    """The six training metrics after several steps."""
    for variant in vector.record:
        metrics = TrainingMetrics()
        steps = {int(match.group(1)) for match in vector.matching(re.escape(variant) + r'_(\d+)_.+')}
        for step in sorted(steps):
            prefix = '%s_%d_' % (variant, step)
            values = {match.group(1): vector[match.group(0)] for match in vector.matching(re.escape(prefix) + '(.+)')}
            labels = {name: values.pop(name) for name in list(values) if name.endswith('_label')}
            metrics.update(labels, values)
        ours = metrics.get()
        for name in vector.record[variant]:
            report.check('%s: %s' % (variant, name), ours.get(name), vector.record[variant][name], PLAIN)


def check_lr(vector, report):
    """Learning rates, update by update, and the drops in updates of schedules that are given in epochs."""
    for i, case in enumerate(vector.record['schedules']):
        schedule = lr_schedule(case['base_lr'], case['step'], 1, factor=case['factor'], warmup=case['warmup'],
                               warmup_lr=case['warmup_lr'], warmup_step=case['warmup_step'])
        for match, theirs in case.numbered(r'lr_of_update_(\d+)_to_(\d+)'):
            first, last = map(int, match.groups())
            report.check('schedule %d, updates %d to %d' % (i, first, last), [schedule(n) for n in range(first, last + 1)], theirs,
                         Tolerance('1e-5 of max', of_max=1e-5))
    for i, case in enumerate(vector.record['epoch_conversion']):
        _check_epochs(case, 'epochs %d' % i, report)


def _check_epochs(case, title, report):
    updates_per_epoch = case['len_roidb'] / case['batch_size']
    schedule = lr_schedule(case['lr'], [float(epoch) for epoch in case['lr_step'].split(',')], updates_per_epoch,
                           factor=case['lr_factor'])
    done = case['begin_epoch'] * updates_per_epoch
    # Both cut off fractions of an update, the release after it has subtracted those that are done.
    tolerance = Tolerance('1 update', absolute=1) if done % 1 else EXACT
    drops = list(schedule.step)
    report.check(title + ': drops', drops, case['lr_iters'], tolerance,
                 lambda: [int(drop - done) for drop in drops if drop > done], RESUMED)
    report.check(title + ': first rate', schedule(int(done) + 1), case['start_lr'], Tolerance('1e-5 of max', of_max=1e-5))


def check_loader_order(vector, report):
    """Images of two epochs, one after the other."""
    for i, case in enumerate(vector.record):
        images, batch_size = len(case['width']), case['batch_size']
        order = {True: two_epochs(case, True), False: two_epochs(case, False)}
        for number, theirs in enumerate((case['epoch1'], case['epoch2'])):
            report.check('case %d, epoch %d' % (i, number + 1), order[True][number], theirs, EXACT, lambda: order[False][number],
                         WHOLE_BATCHES)
        ours = len(Loader([None] * images, batch_size, scales=(), pixel_means=()))
        report.check('case %d: batches' % i, ours, case['batches'], EXACT, lambda: images // batch_size, TAIL)


def two_epochs(case, shuffle_whole_batches):
    """Orders of the first two epochs."""
    rng, order, orders = np.random.RandomState(case['npr_seed']), np.arange(len(case['width'])), []
    for _ in range(2):
        order = epoch_order(order, case['width'], case['height'], case['batch_size'], shuffle=case['shuffle'],
                            aspect_grouping=case['aspect_grouping'], shuffle_whole_batches=shuffle_whole_batches, rng=rng)
        orders.append(order)
    return orders
