"""The training loop: steps, metrics, log lines, checkpoints, validation."""
import json
import logging
import math
import os
import time

import numpy as np
from tqdm import tqdm

from rfcn.core import checkpoint, resume
from rfcn.core.interrupt import StopWish
from rfcn.core.metric import TrainingMetrics

logger = logging.getLogger(__name__)


class NonFiniteLoss(FloatingPointError):
    """A loss is NaN or infinite."""


class Stopped(SystemExit):
    """A run that was asked to stop and can be resumed; the exit status is the shell's for that signal."""

    def __init__(self, signal):
        super(Stopped, self).__init__(128 + signal)


class Trainer(object):
    """Trains a started TrainModule on the batches of a loader.

    Args:
        module: a `TrainModule` after `start`.
        loader: a `Loader`.
        prefix: of the checkpoints; beside them goes `prefix-log.jsonl`, one JSON object a line.
        seed: of what the graph draws on the host; step n of a run draws from (seed, n) whatever came before.
        frequent: steps between log lines.
        period: epochs between checkpoints; the last epoch always gets one.
        keep: checkpoints to keep, the newest ones; 0 for all.
        extra_params: arg_params -> more parameters to save (the un-normalised box layer).
        validate: (epoch, arg_params, aux_params) -> Evaluation, called after every `eval_period` epochs; None for never.
    """

    def __init__(self, module, loader, prefix, *, seed=0, frequent=20, period=1, keep=0, extra_params=lambda arg_params: {},
                 validate=None, eval_period=0):
        self.module = module
        self.loader = loader
        self.prefix = prefix
        self.metrics = TrainingMetrics()
        self.seed = seed
        self.frequent = frequent
        self.period = period
        self.keep = keep
        self.extra_params = extra_params
        self.validate = validate
        self.eval_period = eval_period
        self.best = None
        self.batches_done = 0

    def fit(self, begin_epoch, end_epoch, begin_batch=0):
        """Train epochs begin_epoch + 1 to end_epoch (counted from 1 in file names), the first one from batch `begin_batch` on.

        Raises:
            NonFiniteLoss: with the losses and the images of that batch.
            Stopped: after Ctrl-C or SIGTERM, with a checkpoint written.
        """
        with open(self.prefix + '-log.jsonl', 'a') as log, StopWish() as stop:
            self._log = log
            for epoch in range(begin_epoch, end_epoch):
                self._epoch(epoch, end_epoch, begin_batch if epoch == begin_epoch else 0, stop)
                self._end_epoch(epoch + 1, end_epoch)
                if stop.signal:
                    self._stop(stop.signal, epoch + 1, 0)

    def take_up(self, momenta, progress):
        """Momentum, schedule and best score of an earlier run; parameters are the caller's."""
        self.module.set_momenta(momenta, progress.num_update)
        self.best = progress.best
        self.batches_done = progress.batches_done

    def _epoch(self, epoch, end_epoch, begin_batch, stop):
        self.metrics.reset()
        started, seen = time.time(), 0
        with tqdm(total=len(self.loader), initial=begin_batch, desc='epoch %d/%d' % (epoch + 1, end_epoch), unit='batch',
                  mininterval=1) as bar:
            for number, batch in enumerate(self.loader.batches(epoch, begin_batch), begin_batch):
                step, updated = self._step(batch)
                seen += self.loader.batch_size
                bar.update()
                if (number + 1) % self.frequent == 0 or number + 1 == len(self.loader):
                    speed = seen / (time.time() - started)
                    bar.set_postfix_str(', '.join('%s %.3f' % item for item in self.metrics.get().items())
                                        + ', %.2f images/s' % speed)
                    self._write(dict(step, type='train', epoch=epoch + 1, step=self.module.num_update,
                                     lr=self.module.learning_rate, images_per_s=speed))
                if stop.signal and updated and number + 1 < len(self.loader):
                    self._stop(stop.signal, epoch, number + 1)
        self.module.finish_update()  # where accumulated batches do not come out even: a checkpoint holds no gradients
        means = self.metrics.get()
        logger.info('epoch %d: %s, %.2f images/s', epoch + 1, ', '.join('%s %.4f' % item for item in means.items()),
                    seen / (time.time() - started))

    def _stop(self, signal, epoch, batch):
        """Write what resuming needs and leave."""
        if batch:
            params = self.module.get_params()
            resume.save_states(resume.interrupted_path(self.prefix), self.module.momenta(), self._progress(epoch, batch, *params),
                               params)
        logger.warning('stopped by %s after %d epochs and %d batches; TRAIN.RESUME=auto goes on from here', signal.name, epoch,
                       batch)
        raise Stopped(signal)

    def _step(self, batch):
        np.random.seed((self.seed * 1000003 + self.batches_done) % 2 ** 32)  # for the operators that draw on the host
        updated = self.module.step(batch)
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
        return step, updated

    def _end_epoch(self, epoch, end_epoch):
        arg_params, aux_params = self.module.get_params()
        if self.validate and self.eval_period and (epoch % self.eval_period == 0 or epoch == end_epoch):
            evaluation = self.validate(epoch, arg_params, aux_params)
            logger.info('epoch %d, validation:\n%s', epoch, evaluation.table)
            self._write(dict(evaluation.metrics, type='val', epoch=epoch))
            if evaluation.score > (-math.inf if self.best is None else self.best):  # never if NaN: nothing to score by
                self.best = evaluation.score
                checkpoint.save_params(self.prefix + '-best.params', dict(arg_params, **self.extra_params(arg_params)),
                                       aux_params)
        if epoch % self.period == 0 or epoch == end_epoch:
            self._save(epoch, arg_params, aux_params)

    def _save(self, epoch, arg_params, aux_params):
        # States first: resuming looks for parameter files, so one that is there has its states.
        resume.save_states(checkpoint.states_path(self.prefix, epoch), self.module.momenta(),
                           self._progress(epoch, 0, arg_params, aux_params))
        path = checkpoint.params_path(self.prefix, epoch)
        checkpoint.save_params(path, dict(arg_params, **self.extra_params(arg_params)), aux_params)
        logger.info('wrote %s', path)
        if os.path.exists(resume.interrupted_path(self.prefix)):
            os.remove(resume.interrupted_path(self.prefix))  # this checkpoint is further on
        if self.keep:
            resume.prune(self.prefix, self.keep)

    def _progress(self, epoch, batch, arg_params, aux_params):
        return resume.Progress(epoch, batch, self.module.num_update, self.batches_done, self.best,
                               resume.checksum(arg_params, aux_params))

    def _write(self, line):
        # JSON has no NaN, the score of a class without objects.
        line = {name: None if value != value else value for name, value in line.items()}
        self._log.write(json.dumps(line) + '\n')
        self._log.flush()
