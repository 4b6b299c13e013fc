"""The training loop: steps, metrics, log lines, checkpoints, validation."""
import json
import logging
import math
import time

import numpy as np
from tqdm import tqdm

from rfcn.core import checkpoint
from rfcn.core.metric import TrainingMetrics

logger = logging.getLogger(__name__)


class NonFiniteLoss(FloatingPointError):
    """A loss is NaN or infinite."""


class Trainer(object):
    """Trains a started TrainModule on the batches of a loader.

    Args:
        module: a `TrainModule` after `start`.
        loader: a `Loader`.
        prefix: of the checkpoints; beside them goes `prefix-log.jsonl`, one JSON object a line.
        seed: of what the graph draws on the host; step n of a run draws from (seed, n) whatever came before.
        frequent: steps between log lines.
        period: epochs between checkpoints; the last epoch always gets one.
        extra_params: arg_params -> more parameters to save (the un-normalised box layer).
        validate: (epoch, arg_params, aux_params) -> Evaluation, called after every `eval_period` epochs; None for never.
    """

    def __init__(self, module, loader, prefix, *, seed=0, frequent=20, period=1, extra_params=lambda arg_params: {},
                 validate=None, eval_period=0):
        self.module = module
        self.loader = loader
        self.prefix = prefix
        self.metrics = TrainingMetrics()
        self.seed = seed
        self.frequent = frequent
        self.period = period
        self.extra_params = extra_params
        self.validate = validate
        self.eval_period = eval_period
        self.best = None
        self.batches_done = 0

    def fit(self, begin_epoch, end_epoch):
        """Train epochs begin_epoch + 1 to end_epoch (counted from 1 in file names).

        Raises:
            NonFiniteLoss: with the losses and the images of that batch.
        """
        with open(self.prefix + '-log.jsonl', 'a') as log:
            self._log = log
            for epoch in range(begin_epoch, end_epoch):
                self._epoch(epoch, end_epoch)
                self._end_epoch(epoch + 1, end_epoch)

    def resume(self, epoch):
        """Momentum, schedule and best score as they were after `epoch`; parameters are the caller's."""
        momenta, progress = checkpoint.load_states(checkpoint.states_path(self.prefix, epoch))
        self.module.set_momenta(momenta, progress['num_update'])
        self.best = progress['best']
        self.batches_done = progress['batches_done']

    def _epoch(self, epoch, end_epoch):
        self.metrics.reset()
        started, seen = time.time(), 0
        with tqdm(total=len(self.loader), desc='epoch %d/%d' % (epoch + 1, end_epoch), unit='batch', mininterval=1) as bar:
            for number, batch in enumerate(self.loader.batches(epoch)):
                step = self._step(batch)
                seen += self.loader.batch_size
                bar.update()
                if (number + 1) % self.frequent == 0 or number + 1 == len(self.loader):
                    speed = seen / (time.time() - started)
                    bar.set_postfix_str(', '.join('%s %.3f' % item for item in self.metrics.get().items())
                                        + ', %.2f images/s' % speed)
                    self._write(dict(step, type='train', epoch=epoch + 1, step=self.module.num_update,
                                     lr=self.module.learning_rate, images_per_s=speed))
        self.module.finish_update()  # where batches are accumulated and do not come out even: a checkpoint holds no gradients
        means = self.metrics.get()
        logger.info('epoch %d: %s, %.2f images/s', epoch + 1, ', '.join('%s %.4f' % item for item in means.items()),
                    seen / (time.time() - started))

    def _step(self, batch):
        np.random.seed((self.seed * 1000003 + self.batches_done) % 2 ** 32)  # for the operators that draw on the host
        self.module.step(batch)
        self.batches_done += 1
        labels = dict(zip(self.module.label_names, batch.label))
        outputs = self.module.named_outputs()
        known = {'rpn_label' if 'rpn_cls_prob' in outputs else 'rcnn_label': labels['label']}
        step = self.metrics.update(known, outputs)
        if not np.all(np.isfinite(list(step.values()))):
            raise NonFiniteLoss('a loss is not finite after %d updates: %s. Images: %s. A lower TRAIN.lr, a longer warm-up '
                                'or TRAIN.CLIP_GRADIENT may help; check the boxes of these images' % (
                                    self.module.num_update, ', '.join('%s %g' % item for item in step.items()),
                                    ', '.join(batch.images)))
        return step

    def _end_epoch(self, epoch, end_epoch):
        arg_params, aux_params = self.module.get_params()
        if self.validate and self.eval_period and (epoch % self.eval_period == 0 or epoch == end_epoch):
            evaluation = self.validate(epoch, arg_params, aux_params)
            logger.info('epoch %d, validation:\n%s', epoch, evaluation.table)
            self._write(dict(evaluation.metrics, type='val', epoch=epoch))
            if evaluation.score > (-math.inf if self.best is None else self.best):  # never where there is no object to score by
                self.best = evaluation.score
                checkpoint.save_params(self.prefix + '-best.params', dict(arg_params, **self.extra_params(arg_params)),
                                       aux_params)
        if epoch % self.period == 0 or epoch == end_epoch:
            self._save(epoch, arg_params, aux_params)

    def _save(self, epoch, arg_params, aux_params):
        # States first: a parameter file is complete only with its states, and resuming looks for parameter files.
        progress = dict(num_update=self.module.num_update, batches_done=self.batches_done, best=self.best)
        checkpoint.save_states(checkpoint.states_path(self.prefix, epoch), self.module.momenta(), progress)
        path = checkpoint.params_path(self.prefix, epoch)
        checkpoint.save_params(path, dict(arg_params, **self.extra_params(arg_params)), aux_params)
        logger.info('wrote %s', path)

    def _write(self, line):
        line = {name: None if value != value else value for name, value in line.items()}  # JSON has no NaN (a class without objects)
        self._log.write(json.dumps(line) + '\n')
        self._log.flush()
