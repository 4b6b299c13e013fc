"""A whole training step, R-FCN with OHEM at 600x1000: fp32 and bf16, and where the time goes."""
import contextlib
import tempfile
import time

import mxnet as mx

from experiments.bench import measure, subjects
from lib.utils.memory import peak
from rfcn.core.metric import TrainingMetrics
from rfcn.core.module import TrainModule
from rfcn.core.target_loaders import anchor_loader
from rfcn.precision.bf16 import has_bf16, with_bf16_convolutions
from rfcn.symbols import make_symbol

DATA, LABELS = ['data', 'im_info', 'gt_boxes'], ['label', 'bbox_target', 'bbox_weight']
# Too small a rate to leave the numbers' range.
OPTIMIZER = dict(learning_rate=1e-6, momentum=0.9, wd=0.0005, rescale_grad=1.0)
STEPS = 2  # at a time, before the other precision has its turn
LAYERS = ('convolution', 'BatchNorm', 'ReLU', 'sum', 'cast')  # kinds of operators that are the network's arithmetic


class Training:
    """Training of one network on images whose numbers of objects differ.

    Args:
        depth: of the ResNet. precision: 'fp32' or 'bf16'. roidb: of images.
        plain: by mx.mod.Module itself, to compare the memory with.
        overrides: 'KEY=VALUE' of the configuration, for another network.
    """

    def __init__(self, depth, precision, roidb, plain=False, overrides=()):
        cfg = subjects.config(depth, 'TRAIN.BATCH_IMAGES=1', *overrides)
        symbol = make_symbol(cfg).get_symbol(is_train=True)
        self.loader = anchor_loader(cfg, roidb, symbol)
        self.batches = self._endless()
        first = next(self.batches)
        shapes = {desc.name: desc.shape for desc in first.provide_data + first.provide_label}
        params = subjects.random_params(symbol, shapes)
        fixed = cfg.network.FIXED_PARAMS
        graph = with_bf16_convolutions(symbol) if precision == 'bf16' else symbol
        self.module = TrainModule(graph, DATA, LABELS, [mx.cpu()], fixed=fixed)
        if plain:
            self.module = mx.mod.Module(symbol, DATA, LABELS, context=[mx.cpu()],
                                        fixed_param_names=self.module.fixed_names)
            self.module.bind(first.provide_data, first.provide_label)
            self.module.init_params(arg_params=params[0], aux_params=params[1])
            self.module.init_optimizer(optimizer='sgd', optimizer_params=OPTIMIZER)
        else:
            self.module.start(first, *params, optimizer_params=OPTIMIZER, kvstore='device')
        self.metrics = TrainingMetrics()

    def _endless(self):
        while True:
            yield from self.loader.batches()

    def step(self):
        """Make a training step as `Trainer` does. Returns the seconds of its parts; here each part is waited for."""
        watch = measure.Stopwatch()
        batch = next(self.batches)
        watch.lap('loader')
        self.module.forward_backward(batch)
        mx.nd.waitall()
        watch.lap('network')
        self.module.update()
        mx.nd.waitall()
        watch.lap('update')
        self.metrics.update({'rpn_label': batch.label[0]}, self.module.named_outputs())
        watch.lap('metrics')
        return watch.seconds

    def steps(self, count=STEPS):
        """Some steps whose parts are not waited for: what training takes. Returns the seconds of one under 'step'."""
        started = time.perf_counter()
        for _ in range(count):
            batch = next(self.batches)
            self.module.step(batch)
            self.metrics.update({'rpn_label': batch.label[0]}, self.module.named_outputs())
        mx.nd.waitall()  # what is still to do is not the next one's
        return {'step': (time.perf_counter() - started) / count}

    def frozen(self):
        """Parameters that are not trained, and the number of those that have a gradient array all the same."""
        fixed = self.module.fixed_names
        return len(fixed), sum(name in self.module.gradients() for name in fixed)


@contextlib.contextmanager
def counting_binds():
    """A list that grows by one entry whenever an executor is bound or bound anew."""
    binds, group = [], mx.module.executor_group.DataParallelExecutorGroup
    original = group._bind_ith_exec

    def counted(self, *args, **kwargs):
        binds.append(args)
        return original(self, *args, **kwargs)
    group._bind_ith_exec = counted
    try:
        yield binds
    finally:
        group._bind_ith_exec = original


def operators(depth, precision, roidb):
    """Kind of operator -> seconds of a step in it, and the share of the step that the network's layers do not take."""
    with measure.single_operators():
        training = Training(depth, precision, roidb)
        training.step()
        step = {}
        kinds = measure.by_kind(measure.operator_seconds(lambda: step.update(training.steps(1))))
        return kinds, 1 - sum(kinds.get(kind, 0.0) for kind in LAYERS) / step['step']


def run(short):
    """Rows of the table of training."""
    depth, rounds = 101, 3 if short else 9
    precisions = ['fp32'] + ['bf16'] * has_bf16()
    with tempfile.TemporaryDirectory() as folder, counting_binds() as binds:
        roidb = subjects.write_images(folder, 8)
        trainings = {precision: Training(depth, precision, roidb) for precision in precisions}
        bound = len(binds)
        split = measure.in_turn({precision: training.step for precision, training in trainings.items()}, rounds)
        steps = measure.in_turn({precision: training.steps for precision, training in trainings.items()}, rounds)
        rows = [dict(backbone='ResNet-%d' % depth, precision=precision, **_times(steps, split, precision))
                for precision in precisions]
        bound_anew = len(binds) - bound
        for row, training in zip(rows, trainings.values()):
            row['operators'], row['besides layers'] = operators(depth, row['precision'], roidb)
            row['frozen parameters'], row['of them with a gradient'] = training.frozen()
            row['bound anew'] = bound_anew
    for row in rows:
        row['peak MB'] = measure.in_process('train_memory', depth=depth, precision=row['precision'])
    rows[0]['peak MB of a plain Module'] = measure.in_process('train_memory', depth=depth, precision='fp32', plain=True)
    return rows


def _times(steps, split, precision):
    parts = {name: seconds for name, seconds in split[precision].items() if name != 'total'}
    return dict({'step': steps[precision]['step'], 'of fp32': steps[precision]['step'] / steps['fp32']['step']},
                **parts)


def peak_memory(depth, precision, plain=False, steps=2):
    """Megabytes that some steps need at most."""
    with tempfile.TemporaryDirectory() as folder:
        training = Training(depth, precision, subjects.write_images(folder, 4), plain)
        for _ in range(steps):
            training.module.forward_backward(next(training.batches))
            training.module.update()
            mx.nd.waitall()
    return peak()
