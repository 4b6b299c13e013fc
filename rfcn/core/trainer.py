"""The training loop: steps, metrics, log lines, checkpoints, validation."""
import contextlib
import errno
import json
import logging
import math
import os
import time

import numpy as np

from lib.errors import UserError
from lib.utils.progress import progress
from rfcn.checkpoints import checkpoint, resume
from rfcn.core.interrupt import StopNow, StopWish
from rfcn.core.metric import TrainingMetrics
from rfcn.core.schedule import batches_in, last_epoch

logger = logging.getLogger(__name__)


class NonFiniteLoss(UserError, FloatingPointError):
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
        validate: (epoch, arg_params, aux_params) -> Evaluation, called after every `eval_period` epochs; None for
            never.
    """

    def __init__(self, module, loader, prefix, *, seed=0, frequent=20, period=1, keep=0,
                 extra_params=lambda arg_params: {}, validate=None, eval_period=0):
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
        """Train epochs begin_epoch + 1 to end_epoch (file names count from 1), the first from batch `begin_batch` on.

        Args:
            end_epoch: a fraction ends within an epoch, whose checkpoint is the last one.

        Raises:
            NonFiniteLoss: with the losses and the images of that batch.
            Stopped: after Ctrl-C or SIGTERM, with a checkpoint written.
        """
        # Without a buffer: what a full disk did not take would come up again, without a name, when the file is closed.
        with open(self.prefix + '-log.jsonl', 'ab', buffering=0) as log, StopWish() as stop:
            self._log = log
            if begin_epoch and not begin_batch and begin_epoch not in validated_epochs(log.name):
                self._validate(begin_epoch, last_epoch(end_epoch), stop, saved=True)    # the run before ended amid it
                self._leave_if(stop, begin_epoch)
            for epoch in range(begin_epoch, last_epoch(end_epoch)):
                self._epoch(epoch, end_epoch, begin_batch if epoch == begin_epoch else 0, stop)
                self._end_epoch(epoch + 1, last_epoch(end_epoch), stop)
                self._leave_if(stop, epoch + 1)

    def take_up(self, momenta, progress):
        """Momentum, schedule and best score of an earlier run; parameters are the caller's."""
        self.module.set_momenta(momenta, progress.num_update)
        self.best = progress.best
        self.batches_done = progress.batches_done

    def _epoch(self, epoch, end_epoch, begin_batch, stop):
        self.metrics.reset()
        started, seen = time.time(), 0
        batches = batches_in(epoch, end_epoch, len(self.loader))
        with progress(desc='epoch %d/%g' % (epoch + 1, end_epoch), unit='batch', total=batches,
                      initial=begin_batch) as bar:
            for number, batch in zip(range(begin_batch, batches), self.loader.batches(epoch, begin_batch)):
                step, updated = self._step(batch)
                seen += self.loader.batch_size
                bar.update()
                if (number + 1) % self.frequent == 0 or number + 1 == batches:
                    speed = seen / (time.time() - started)
                    left = self._seconds_left(speed, epoch, number + 1, end_epoch)
                    bar.set_postfix_str(', '.join('%s %.3f' % item for item in self.metrics.get().items())
                                        + ', %.2f images/s, all epochs: %s left' % (speed, hours(left)))
                    self._write(dict(step, type='train', epoch=epoch + 1, step=self.module.num_update,
                                     lr=self.module.learning_rate, images_per_s=speed))
                if stop.signal and updated and number + 1 < batches:
                    self._save_interrupted(epoch, number + 1)
                    self._leave_if(stop, epoch, number + 1)
        self.module.finish_update()  # where accumulated batches do not come out even: a checkpoint holds no gradients
        means, speed = self.metrics.get(), seen / (time.time() - started)
        left = self._seconds_left(speed, epoch, batches, end_epoch)
        logger.info('epoch %d: %s, %.2f images/s%s', epoch + 1, ', '.join('%s %.4f' % item for item in means.items()),
                    speed, ', about %s left for all epochs' % hours(left) if left else '')

    def _seconds_left(self, speed, epoch, batches_done, end_epoch):
        """Of training, without validations, at so many images a second."""
        last, size = math.ceil(end_epoch), len(self.loader)
        batches = sum(batches_in(each, end_epoch, size) for each in range(epoch, last)) - batches_done
        return batches * self.loader.batch_size / speed if speed else 0

    def _save_interrupted(self, epoch, batch):
        params = self.module.get_params()
        resume.save_states(resume.interrupted_path(self.prefix), self.module.momenta(),
                           self._progress(epoch, batch, *params), params)

    @staticmethod
    def _leave_if(stop, epoch, batch=0):
        """End the run if that is wished; what resuming needs has been written."""
        if stop.signal:
            logger.warning('stopped by %s after %d epochs and %d batches; TRAIN.RESUME=auto goes on from here',
                           stop.signal.name, epoch, batch)
            raise Stopped(stop.signal)

    def _step(self, batch):
        np.random.seed((self.seed * 1000003 + self.batches_done) % 2 ** 32)  # for the operators that draw on the host
        updated = self.module.step(batch)
        self.batches_done += 1
        labels = dict(zip(self.module.label_names, batch.label))
        outputs = self.module.named_outputs()
        known = {'rpn_label' if 'rpn_cls_prob' in outputs else 'rcnn_label': labels['label']}
        step = self.metrics.update(known, outputs)
        if not np.all(np.isfinite(list(step.values()))):
            raise NonFiniteLoss('a loss is not finite after %d updates: %s. Images: %s. A lower TRAIN.lr, a longer '
                                'warm-up or TRAIN.CLIP_GRADIENT may help; check the boxes of these images' % (
                                    self.module.num_update, ', '.join('%s %g' % item for item in step.items()),
                                    ', '.join(batch.images)))
        return step, updated

    def _end_epoch(self, epoch, end_epoch, stop):
        """A checkpoint if one is due, then the validation, which may take long; a stop leaves a checkpoint anyway."""
        saved = epoch % self.period == 0 or epoch == end_epoch or bool(stop.signal)
        if saved:
            self._save(epoch)
        self._validate(epoch, end_epoch, stop, saved)
        if stop.signal and not saved:
            self._save(epoch)

    def _validate(self, epoch, end_epoch, stop, saved):
        """Score the parameters if that is due and nobody wishes to stop, and keep them if they are the best so far.

        Args:
            saved: whether there is a checkpoint of this epoch, which shall know the best score.
        """
        due = self.validate and self.eval_period and (epoch % self.eval_period == 0 or epoch == end_epoch)
        if not due or stop.signal:
            return
        params = self.module.get_params()
        try:
            with stop.at_once():
                evaluation = self.validate(epoch, *params)
        except StopNow:
            logger.warning('epoch %d: the validation is not finished; resuming begins it anew', epoch)
            return
        logger.info('epoch %d, validation:\n%s', epoch, evaluation.table)
        if evaluation.score > (-math.inf if self.best is None else self.best):  # never if NaN: nothing to score by
            self.best = evaluation.score
            self._save_params(self.prefix + '-best.params', *params)
            if saved:
                self._save_states(epoch, *params)
        self._write(dict(evaluation.metrics, type='val', epoch=epoch))

    def _save_states(self, epoch, arg_params, aux_params):
        resume.save_states(checkpoint.states_path(self.prefix, epoch), self.module.momenta(),
                           self._progress(epoch, 0, arg_params, aux_params))

    def _save_params(self, path, arg_params, aux_params):
        checkpoint.save_params(path, dict(arg_params, **self.extra_params(arg_params)), aux_params)

    def _save(self, epoch):
        # States first: resuming looks for parameter files, so one that is there has its states.
        params = self.module.get_params()
        self._save_states(epoch, *params)
        path = checkpoint.params_path(self.prefix, epoch)
        self._save_params(path, *params)
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
        data = (json.dumps(line) + '\n').encode('ascii')
        try:
            if self._log.write(data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise OSError('%s cannot be written (%s); the checkpoints are untouched. Is the disk full?'
                          % (self._log.name, error.strerror)) from error


def hours(seconds):
    """A time as '1:02:03'."""
    minutes, seconds = divmod(int(seconds + 0.5), 60)
    return '%d:%02d:%02d' % (minutes // 60, minutes % 60, seconds)


def validated_epochs(path):
    """The epochs whose validation is in a log of JSON lines; a run that was killed may have left one half-written."""
    epochs = set()
    with open(path) as lines:
        for line in lines:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                record = json.loads(line)
                if record['type'] == 'val':
                    epochs.add(record['epoch'])
    return epochs
