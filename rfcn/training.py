"""A training run, whatever graph it trains: where it begins, its first parameters, its optimizer, its loop."""
import logging
import os

from rfcn import build
from rfcn.cli.run import run_folder
from rfcn.checkpoints import checkpoint, resume
from rfcn.checkpoints.folder_lock import locked_folder
from rfcn.core.module import TrainModule
from rfcn.precision.bf16 import use_bf16, with_bf16_convolutions
from rfcn.core.schedule import last_epoch, lr_schedule, updates_per_epoch
from rfcn.core.trainer import Trainer
from rfcn.evaluate import evaluate
from rfcn.checkpoints.pretrained import start_params

logger = logging.getLogger(__name__)


def train(cfg, symbol, loader, prefix, devices, extra_params=lambda arg_params: {}, validate=None):
    """Train a graph from where `TRAIN.RESUME` takes the run up to `TRAIN.end_epoch`.

    Args:
        symbol: a training graph.
        loader: a `Loader`; the names in its batches are those of the graph's inputs.
        prefix: of the checkpoints.
        devices: list of mx.Context.
        extra_params, validate: see `Trainer`.
    """
    build.check_device(cfg, 'TRAIN')
    with locked_folder(os.path.dirname(prefix)):
        _train(cfg, symbol, loader, prefix, devices, extra_params, validate)


def _train(cfg, symbol, loader, prefix, devices, extra_params, validate):
    standing = earlier_run(cfg, prefix)
    batch = next(loader.batches())
    graph = with_bf16_convolutions(symbol) if use_bf16(cfg.TRAIN.PRECISION, 'TRAIN.PRECISION') else symbol
    part = batch.parts[0]
    module = TrainModule(graph, names(part.provide_data), names(part.provide_label), devices,
                         accumulate=cfg.TRAIN.GRAD_ACCUM, fixed=cfg.network.FIXED_PARAMS, frozen=cfg.TRAIN.FREEZE,
                         lr_mult=cfg.TRAIN.LR_MULT)
    module.start(batch, *first_params(cfg, symbol, part, standing),
                 optimizer_params=optimizer_params(cfg, len(loader)), kvstore=cfg.default.kvstore)
    trainer = Trainer(module, loader, prefix, frequent=cfg.default.frequent,
                      period=cfg.TRAIN.CHECKPOINT_PERIOD, keep=cfg.TRAIN.KEEP_CHECKPOINTS, extra_params=extra_params,
                      validate=validate, eval_period=cfg.TRAIN.EVAL_PERIOD)
    epoch, begin_batch = take_up(trainer, standing, cfg, loader) if standing else (0, 0)
    try:
        trainer.fit(epoch, cfg.TRAIN.end_epoch, begin_batch)
    finally:
        loader.log_skipped()


def earlier_run(cfg, prefix):
    """The `Standing` that RESUME takes up, or None for a new run."""
    if cfg.TRAIN.RESUME == 'auto':
        return resume.newest(prefix)
    return resume.at_epoch(prefix, cfg.TRAIN.begin_epoch) if cfg.TRAIN.RESUME else None


def take_up(trainer, standing, cfg, loader):
    """Put a trainer where an earlier run stood. Returns finished epochs and batches done of the next one."""
    progress = standing.progress
    if progress is None:
        # parameters of the release: the schedule goes on as if this project had trained the epochs before
        epochs = cfg.TRAIN.begin_epoch
        updates = epochs * updates_per_epoch(len(loader), cfg.TRAIN.GRAD_ACCUM)
        progress = resume.Progress(epochs, 0, updates, epochs * len(loader), None, None)
    trainer.take_up(standing.momenta or {}, progress)
    logger.info('going on from %s: %d epochs and %d batches done', standing.source, progress.epoch, progress.batch)
    return progress.epoch, progress.batch


def names(descriptions):
    """Of the inputs that a batch describes."""
    return [description.name for description in descriptions]


def first_params(cfg, symbol, batch, standing):
    """Parameters to start from: a checkpoint's, a pretrained trunk's with new heads, or all new.

    Args:
        batch: of one device.
    """
    per_device = {desc.name: desc.shape for desc in batch.provide_data + batch.provide_label}
    if standing:
        checkpoint.check_params(symbol, per_device, standing.arg_params, standing.aux_params, standing.source)
        return standing.arg_params, standing.aux_params
    return start_params(cfg, symbol, per_device)


def optimizer_params(cfg, batches):
    """Of SGD. Gradients are summed over devices, as in the release: the effective learning rate grows with their count.

    Args:
        batches: of an epoch.
    """
    settings = cfg.TRAIN
    schedule = lr_schedule(settings.lr, settings.lr_step, updates_per_epoch(batches, settings.GRAD_ACCUM),
                           factor=settings.lr_factor, warmup=settings.warmup, warmup_lr=settings.warmup_lr,
                           warmup_step=settings.warmup_step)
    return dict(momentum=settings.momentum, wd=settings.wd, learning_rate=settings.lr, lr_scheduler=schedule,
                rescale_grad=1.0 / settings.GRAD_ACCUM, clip_gradient=settings.CLIP_GRADIENT or None)


def last_checkpoint(cfg, cfg_path):
    """The checkpoint that a training with this configuration wrote: that of `TEST.test_epoch`, or else its last one."""
    prefix = run_folder(cfg, cfg_path, cfg.dataset.image_set) / cfg.TRAIN.model_prefix
    return checkpoint.params_path(str(prefix), cfg.TEST.test_epoch or last_epoch(cfg.TRAIN.end_epoch))


def validation(cfg):
    """A function (epoch, arg_params, aux_params) -> Evaluation on `dataset.val_image_set`; None where there is none."""
    if not cfg.dataset.val_image_set:
        return None
    imdb, = build.datasets(cfg, cfg.dataset.val_image_set)
    to_test = build.unnormalised(cfg)

    def validate(epoch, arg_params, aux_params):
        test_params = {name[:-len(checkpoint.TEST_SUFFIX)]: value for name, value in to_test(arg_params).items()}
        predictor = build.predictor_of_params(cfg, dict(arg_params, **test_params), aux_params, 'epoch %d' % epoch)
        return evaluate(cfg, predictor, imdb)[0]
    return validate
