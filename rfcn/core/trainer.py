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
from lib.utils.console import counted, progress
from lib.utils.limits import is_there, open_input
from lib.utils.whole_file import end_line
from rfcn.checkpoints import resume, states
from rfcn.checkpoints.checkpoint import CURVES, not_finite, params_path
from rfcn.core.curves import Curves
from rfcn.core.interrupt import StopNow, Stopped, StopWish
from rfcn.core.metric import TrainingMetrics, measure
from rfcn.core.schedule import batches_in, last_epoch
from rfcn.core.workers import Alone

logger = logging.getLogger(__name__)


class NonFiniteLoss(UserError, FloatingPointError):
    """A loss, or a parameter after an update, is NaN or infinite."""


class Trainer:
    """Trains a started TrainModule on the batches of a loader.

    Args:
        module: a `TrainModule` after `start`.
        loader: a `Loader`.
        prefix: of the checkpoints; beside them go `prefix-log.jsonl`, a JSON object per line, and `prefix-curves`.
        frequent: steps between log lines, each of which holds the means over its steps.
        period: epochs between checkpoints; the last epoch always gets one.
        keep: checkpoints to keep, the newest ones; 0 for all.
        extra_params: arg_params -> more parameters to save (the un-normalised box layer).
        validate: (epoch, arg_params, aux_params) -> Evaluation and pictures of detections, (name, image) each; called
            after every `eval_period` epochs; None for never.
        workers: `Workers` or `Alone`: the first one writes the files, and all stop at the same batch.
        identity: of the run, for its checkpoints.
    """

    def __init__(self, module, loader, prefix, *, frequent=20, period=1, keep=0,
                 extra_params=lambda arg_params: {}, validate=None, eval_period=0, workers=Alone(),
                 identity=None):
        self.module = module
        self.loader = loader
        self.prefix = prefix
        self.metrics, self.recent = TrainingMetrics(), TrainingMetrics()  # epoch; since the last line
        self.workers = workers
        self.frequent = frequent
        self.period = period
        self.keep = keep
        self.extra_params = extra_params
        self.validate = validate
        self.eval_period = eval_period
        self.identity = identity
        self.curves = Curves(prefix + CURVES)
        self.best = None
        self.batches_done = 0
        self.own_states = True      # see `go_on`

    def fit(self, begin_epoch, end_epoch, done=0, order_images=None):
        """Train epochs begin_epoch + 1 to end_epoch (file names count from 1).

        Args:
            end_epoch: a fraction ends within an epoch, whose checkpoint is the last one.
            done, order_images: images of the first epoch that are done, and images per step of the run that began it:
                `start` and `step_size` of `Loader.batches`.
        Raises:
            NonFiniteLoss: with the losses and the images of that batch, or with the names of the parameters.
            Stopped: after Ctrl-C, SIGTERM or SIGHUP, with a checkpoint written.
        """
        # Unbuffered: on a full disk a buffer would raise its error when the file is closed, without the file's name.
        path = self.prefix + '-log.jsonl' if self.workers.first else os.devnull
        if self.workers.first:
            is_there(path)      # a FIFO or a device in its place could never be read when the run goes on
        with open(path, 'ab', buffering=0) as log, contextlib.closing(self.curves), StopWish() as stop:
            self._log = log
            end_line(path)
            if begin_epoch and not done and self._is_unvalidated(begin_epoch):
                # the earlier run ended before or during this validation
                self._validate(begin_epoch, last_epoch(end_epoch), stop, saved=self.own_states)
                self._leave_if(self._wish(stop), begin_epoch)
            for epoch in range(begin_epoch, last_epoch(end_epoch)):
                self._epoch(epoch, end_epoch, stop, done, order_images)
                done, order_images = 0, None        # later epochs begin at their beginning
                self._leave_if(self._end_epoch(epoch + 1, last_epoch(end_epoch), stop), epoch + 1)

    def go_on(self, momenta, progress, own_states=True):
        """Continue an earlier run: take over momentum, schedule and best score. The caller has set the parameters.

        Args:
            own_states: whether the states beside these parameters are this project's; the release's stay as they are.
        """
        self.own_states = own_states
        self.module.set_momenta(momenta, progress.num_update)
        self.best = progress.best
        self.batches_done = progress.batches_done

    def _epoch(self, epoch, end_epoch, stop, done, order_images):
        self.metrics.reset()
        self.recent.reset()
        started, seen = time.monotonic(), 0
        batches = batches_in(epoch, end_epoch, len(self.loader))
        begin_batch = len(self.loader) - -(-(len(self.loader.roidb) - done) // self.loader.step_size)
        with progress(desc='epoch %d/%g' % (epoch + 1, end_epoch), unit='batch', total=batches,
                      initial=begin_batch) as bar:
            for number, batch in zip(range(begin_batch, batches), self.loader.batches(epoch, done, order_images)):
                updated = self._step(batch)
                seen += self.loader.step_size
                bar.update()
                if (number + 1) % self.frequent == 0 or number + 1 == batches:
                    speed = seen / (time.monotonic() - started)
                    self._tell(bar, epoch, speed, self._seconds_left(speed, epoch, number + 1, end_epoch))
                wish = self._wish(stop) if updated and number + 1 < batches else None
                if wish:
                    self._save_interrupted(epoch, done + seen, order_images)
                    self._leave_if(wish, epoch, done + seen)
        self.module.finish_update()  # the rest of the accumulated batches: a checkpoint holds no gradients
        if not seen:
            logger.info('epoch %d: nothing is left of it to train', epoch + 1)
            return
        means, speed = self.metrics.get(), seen / (time.monotonic() - started)
        left = self._seconds_left(speed, epoch, batches, end_epoch)
        logger.info('epoch %d: %s, %.2f images/s%s', epoch + 1, ', '.join('%s %.4f' % item for item in means.items()),
                    speed, ', about %s left for all epochs' % hours(left) if left else '')

    def _tell(self, bar, epoch, speed, seconds_left):
        """Show the means of the epoch so far at the progress bar, and write those since the last line into the log."""
        bar.set_postfix_str(', '.join('%s %.3f' % item for item in self.metrics.get().items())
                            + ', %.2f images/s, all epochs: %s left' % (speed, hours(seconds_left)), refresh=False)
        self._write(dict(self.recent.get(), type='train', epoch=epoch + 1, step=self.module.num_update,
                         lr=self.module.learning_rate, images_per_s=speed))
        self.recent.reset()

    def _seconds_left(self, speed, epoch, batches_done, end_epoch):
        """Seconds of training that are left, without validations, at so many images per second."""
        size = len(self.loader)
        batches = sum(batches_in(each, end_epoch, size) for each in range(epoch, last_epoch(end_epoch))) - batches_done
        return batches * self.loader.step_size / speed if speed else 0

    def _save_interrupted(self, epoch, images, order_images):
        params = self._params()
        if self.workers.first:
            states.save_states(resume.interrupted_path(self.prefix), self.module.momenta(),
                               self._progress(epoch, *params, images, order_images), self.identity, params)
        self.workers.meet()

    def _wish(self, stop):
        """The signal that asks this run to stop, or None; the same for all workers, whichever of them heard it."""
        if self.workers.count == 1:
            return stop.signal
        # A signal may come during the exchange: it is left in `stop` for the next one.
        heard = self.workers.sum([stop.signal == number for number in StopWish.SIGNALS])
        return next((number for number, times in zip(StopWish.SIGNALS, heard) if times), None)

    @staticmethod
    def _leave_if(wish, epoch, images=0):
        """End the run if that is wished; what resuming needs has been written."""
        if wish:
            logger.warning('stopped by %s after %s and %s; TRAIN.RESUME=auto goes on from here', wish.name,
                           counted(epoch, 'epoch'), counted(images, 'image'))
            raise Stopped(wish)

    def _is_unvalidated(self, epoch):
        """Whether the log, which the first worker has, lacks the validation of an epoch."""
        lacks = self.workers.first and epoch not in validated_epochs(self.prefix + '-log.jsonl')
        return bool(self.workers.sum([lacks])[0])

    def _step(self, batch):
        updated = self.module.step(batch)
        self.batches_done += 1
        measured = self._measured(batch)
        self.metrics.add(measured)
        step = self.recent.add(measured)
        if not np.all(np.isfinite(list(step.values()))):
            raise NonFiniteLoss('a loss is not finite after %d updates: %s. Images: %s. A lower TRAIN.lr, a longer '
                                'warm-up or TRAIN.CLIP_GRADIENT may help; check the boxes of these images' % (
                                    self.module.num_update, ', '.join('%s %g' % item for item in step.items()),
                                    self._images(batch)))
        return updated

    def _measured(self, batch):
        """What `measure` gives for a step, summed over devices and workers."""
        devices = []
        for device, part in enumerate(batch.parts):
            outputs, labels = self.module.named_outputs(device), dict(zip(self.module.label_names, part.label))
            known = {'rpn_label' if 'rpn_cls_prob' in outputs else 'rcnn_label': labels['label']}
            devices.append(measure(known, outputs))
        sums = self.workers.sum(np.sum([list(measured.values()) for measured in devices], axis=0))
        return {name: (float(total), int(count)) for name, (total, count) in zip(devices[0], sums)}

    def _images(self, batch):
        names = ', '.join(batch.images).encode('utf-8', 'surrogateescape')      # a file's name need not be UTF-8
        return ', '.join(data.decode('utf-8', 'surrogateescape') for data in self.workers.gather(names))

    def _end_epoch(self, epoch, end_epoch, stop):
        """Write a checkpoint if one is due, then validate. A run that is asked to stop gets a checkpoint in any case.

        Returns the wish to stop.
        """
        saved = epoch % self.period == 0 or epoch == end_epoch or bool(self._wish(stop))
        if saved:
            self._save(epoch)
        if not self._wish(stop):
            self._validate(epoch, end_epoch, stop, saved)
        wish = self._wish(stop)
        if wish and not saved:
            self._save(epoch)
        return wish

    def _validate(self, epoch, end_epoch, stop, saved):
        """Score the parameters if that is due, and keep them if they are the best so far.

        Args:
            saved: whether there is a checkpoint of this epoch; then the best score is written into it.
        """
        due = self.validate and self.eval_period and (epoch % self.eval_period == 0 or epoch == end_epoch)
        if not due:
            return
        params = self._params()
        try:
            with stop.at_once() if self.workers.count == 1 else contextlib.nullcontext():
                evaluation, pictures = self.validate(epoch, *params)
        except StopNow:
            logger.warning('epoch %d: the validation is not finished; resuming begins it anew', epoch)
            return
        logger.info('epoch %d, validation:\n%s', epoch, evaluation.table)
        if evaluation.score > (-math.inf if self.best is None else self.best):  # never if NaN: nothing to score by
            self.best = evaluation.score
            if self.workers.first:
                self._save_to(self.prefix + '-best.params', epoch, params)
                if saved:   # write the best score into that checkpoint
                    states.save_states(states.states_beside(params_path(self.prefix, epoch)), self.module.momenta(),
                                       self._progress(epoch, *params), self.identity)
        self.workers.meet()
        self._write(dict(evaluation.metrics, type='val', epoch=epoch))
        if self.workers.first:
            self.curves.add_pictures(self.module.num_update, pictures)

    def _params(self):
        """Parameters and auxiliary states; raises a NonFiniteLoss if one is not finite."""
        params = self.module.get_params()
        faulty = not_finite(dict(params[0], **params[1]))
        if faulty:
            raise NonFiniteLoss('after %d updates %s hold values that are not finite, though the losses were: nothing '
                                'of this is written, earlier checkpoints are good. A lower TRAIN.lr, a longer warm-up '
                                'or TRAIN.CLIP_GRADIENT may help' % (self.module.num_update, ', '.join(faulty)))
        return params

    def _save_to(self, path, epoch, params):
        try:
            states.save_checkpoint(path, *params, self.module.momenta(), self._progress(epoch, *params), self.identity,
                                   self.extra_params(params[0]))
        except OSError as error:
            lost = '' if os.path.isdir(os.path.dirname(path) or '.') else ', and so are the checkpoints that were there'
            raise OSError('%s. What was trained since the last checkpoint is lost%s'
                          % (str(error).rstrip('.'), lost)) from error

    def _save(self, epoch):
        params = self._params()
        if self.workers.first:
            path = params_path(self.prefix, epoch)
            self._save_to(path, epoch, params)
            logger.info('wrote %s', path)
            if os.path.exists(resume.interrupted_path(self.prefix)):
                os.remove(resume.interrupted_path(self.prefix))  # this checkpoint is further on
            if self.keep:
                resume.prune(self.prefix, self.keep)
        self.workers.meet()

    def _progress(self, epoch, arg_params, aux_params, images=0, order_images=None):
        return states.Progress(epoch, images, self.module.num_update, self.batches_done, self.best,
                               states.checksum(arg_params, aux_params), len(self.loader.roidb), self.loader.step_size,
                               self.module.accumulate, order_images or self.loader.step_size)

    def _write(self, line):
        # JSON has no NaN, which is the score of a class without objects.
        line = {name: None if value != value else value for name, value in line.items()}
        data = (json.dumps(line) + '\n').encode('ascii')
        try:
            if self._log.write(data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise OSError('%s cannot be written (%s); the checkpoints are untouched. Is the disk full?'
                          % (self._log.name, error.strerror)) from error
        if self.workers.first:
            self.curves.add(dict(line, step=self.module.num_update))


def hours(seconds):
    """A time as '1:02:03'."""
    minutes, seconds = divmod(int(seconds + 0.5), 60)
    return '%d:%02d:%02d' % (minutes // 60, minutes % 60, seconds)


def validated_epochs(path):
    """The epochs whose validation is in a log of JSON lines; a run that was killed may have left one half-written."""
    epochs = set()
    with open_input(path, 'r', encoding='utf-8') as lines:
        for line in lines:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                record = json.loads(line)
                if record['type'] == 'val':
                    epochs.add(record['epoch'])
    return epochs
