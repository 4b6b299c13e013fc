"""What surrounds a training step: hard examples, metrics, schedule, order of the images, the checkpoint's box layer."""
import re

import mxnet as mx
import numpy as np

from experiments.compare.report import EXACT, PLAIN, Tolerance
from lib.rcnn.sample_rois import box_annotator_ohem as ohem_in_numpy
from rfcn.checkpoints.checkpoint import unnormalised_bbox
from rfcn.core.loader import Loader, epoch_order
from rfcn.core.metric import TrainingMetrics
from rfcn.core.schedule import lr_schedule
from rfcn.symbols.rfcn import box_annotator_ohem

WHOLE_BATCHES = ('batches are shuffled also where they come out even; the release then shuffles none '
                 '(shuffle_whole_batches=False)')
TAIL = 'the incomplete last batch of an epoch is filled up with the first images; the release drops it'
RESUMED = 'counted from the start of training, also on resuming; the release counts from the epoch it resumes at'
OHEM_INPUTS = ('cls_score', 'bbox_pred', 'labels', 'bbox_targets', 'bbox_weights')
RATES = Tolerance('1e-5 of max', of_max=1e-5)


def check_ohem(vector, report):
    """Labels and weights that hard example mining leaves, in NumPy and in the graph."""
    for i, case in vector.cases('cls_score_%d'):
        inputs = {name: vector['%s_%d' % (name, i)] for name in OHEM_INPUTS}
        report.title = 'case %d' % i
        report.check('classes', inputs['cls_score'].shape, (case['n'], case['num_classes']))
        report.check('outputs of boxes', inputs['bbox_pred'].shape, (case['n'], 4 * case['num_reg_classes']))
        case.note('seed')  # of the stored inputs
        for where, run in (('NumPy', ohem_in_numpy), ('graph', ohem_in_graph)):
            labels, weights = run(roi_per_img=case['roi_per_img'], **inputs)
            report.title = 'case %d, %s' % (i, where)
            report.check('labels', labels, vector['labels_ohem_%d' % i])
            report.check('bbox_weights', weights, vector['bbox_weights_ohem_%d' % i])
            report.check('kept', np.sum(labels != -1), case['kept'])


def ohem_in_graph(roi_per_img, **inputs):
    """`lib.rcnn.sample_rois.box_annotator_ohem` by the operators of the training graph."""
    variables = [mx.sym.Variable(name) for name in OHEM_INPUTS]
    symbol = mx.sym.Group(list(box_annotator_ohem(*variables, batch_images=1, rois_per_image=roi_per_img)))
    executor = symbol.bind(mx.cpu(), {name: mx.nd.array(array) for name, array in inputs.items()})
    return [output.asnumpy() for output in executor.forward()]


def check_checkpoint(vector, report):
    """The box layer for deltas that are not normalised."""
    for i in vector.indices('weight_%d'):
        means = vector['means_%d' % i]
        params = {'rfcn_bbox_' + name: mx.nd.array(vector['%s_%d' % (name, i)]) for name in ('weight', 'bias')}
        maps_of_output = params['rfcn_bbox_bias'].size // len(means)
        ours = unnormalised_bbox(params, means, vector['stds_%d' % i], maps_of_output)
        for name in ('weight', 'bias'):
            value = ours['rfcn_bbox_%s_test' % name].asnumpy()
            report.check('%s %d' % (name, i), value, vector['%s_test_%d' % (name, i)], PLAIN)


def check_metrics(vector, report):
    """The training metrics after several steps."""
    for variant, theirs in vector.record.items():
        report.title = variant
        metrics = TrainingMetrics()
        steps = {int(match.group(1)) for match in vector.matching(re.escape(variant) + r'_(\d+)_.+')}
        for step in sorted(steps):
            matches = vector.matching(re.escape('%s_%d_' % (variant, step)) + '(.+)')
            values = {match.group(1): vector[match.group(0)] for match in matches}
            labels = {name: values.pop(name) for name in list(values) if name.endswith('_label')}
            metrics.update(labels, values)
        report.check_all(metrics.get(), dict(theirs))


def check_lr(vector, report):
    """Learning rates, update by update, and the drops in updates of schedules that are given in epochs."""
    for i, case in enumerate(vector.record['schedules']):
        report.title = 'schedule %d' % i
        schedule = lr_schedule(case['base_lr'], case['step'], 1, factor=case['factor'], warmup=case['warmup'],
                               warmup_lr=case['warmup_lr'], warmup_step=case['warmup_step'])
        for match, theirs in case.numbered(r'lr_of_update_(\d+)_to_(\d+)'):
            first, last = map(int, match.groups())
            ours = [schedule(number) for number in range(first, last + 1)]
            report.check('updates %d to %d' % (first, last), ours, theirs, RATES)
    for i, case in enumerate(vector.record['epoch_conversion']):
        report.title = 'epochs %d' % i
        _check_epochs(case, report)


def _check_epochs(case, report):
    updates_per_epoch = case['len_roidb'] / case['batch_size']
    schedule = lr_schedule(case['lr'], [float(epoch) for epoch in case['lr_step'].split(',')], updates_per_epoch,
                           factor=case['lr_factor'])
    done, drops = case['begin_epoch'] * updates_per_epoch, list(schedule.step)
    # Both cut off fractions of an update, the release after it has subtracted those that are done.
    tolerance = Tolerance('1 update', absolute=1) if done else EXACT
    report.check('drops', drops, case['lr_iters'], tolerance,
                 lambda: [int(drop - done) for drop in drops if drop > done], RESUMED)
    report.check('first rate', schedule(int(done) + 1), case['start_lr'], RATES)


def check_loader_order(vector, report):
    """Images of two epochs, one after the other."""
    for i, case in enumerate(vector.record):
        report.title = 'case %d' % i
        images, batch_size = len(case['width']), case['batch_size']
        report.check_all(two_epochs(case), {key: case[key] for key in ('epoch1', 'epoch2')}, EXACT,
                         lambda: two_epochs(case, shuffle_whole_batches=False), WHOLE_BATCHES)
        batches = len(Loader([None] * images, batch_size, scales=(), pixel_means=()))
        report.check('batches', batches, case['batches'], EXACT, lambda: images // batch_size, TAIL)


def two_epochs(case, **switch):
    """Orders of the first two epochs."""
    rng, order, orders = np.random.RandomState(case['npr_seed']), np.arange(len(case['width'])), []
    for _ in range(2):
        order = epoch_order(order, case['width'], case['height'], case['batch_size'], shuffle=case['shuffle'],
                            aspect_grouping=case['aspect_grouping'], rng=rng, **switch)
        orders.append(order)
    return dict(zip(('epoch1', 'epoch2'), orders))
