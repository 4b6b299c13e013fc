"""A training run of any graph: where it begins, its initial parameters, its optimizer, its loop."""
import contextlib
import json
import logging
import os
from pathlib import Path

import numpy as np

from lib.dataset import check_usable, read_annotated
from lib.errors import ConfigError, DatasetError
from lib.utils import memory
from lib.utils.console import counted
from lib.utils.folders import locked_folder
from lib.utils.image_file import imread
from lib.utils.show_boxes import draw_detections
from lib.utils.whole_file import save_text
from rfcn import data_sets, inference
from rfcn.checkpoints import checkpoint, resume, states
from rfcn.checkpoints.identity import CONFIG, identity_of, summary, training_keys
from rfcn.checkpoints.pretrained import start_params
from rfcn.config.config import dump, with_overrides
from rfcn.core.module import TrainModule
from rfcn.core.schedule import batches_in, last_epoch, linear_scaling, lr_schedule, updates_per_epoch
from rfcn.core.trainer import Trainer
from rfcn.core.workers import workers
from rfcn.evaluate import evaluate
from rfcn.precision.bf16 import use_bf16, with_bf16_convolutions
from rfcn.precision.cpu import check_device

logger = logging.getLogger(__name__)

END2END, RPN, RFCN, ALTERNATE = resume.ALONE, 'rpn', 'rfcn', 'alternate'    # kinds of training
PICTURES = 4    # of detections, of each validation


def train(cfg, symbol, loader, output_path, devices, *, kind, extra_params=lambda arg_params: {}, validate=None,
          inference_symbol=None, is_step=False):
    """Train a graph up to `TRAIN.end_epoch`, from its start or from where `TRAIN.RESUME` says.

    Returns the prefix of the checkpoints: `TRAIN.model_prefix` in the folder `output_path`.

    Args:
        symbol: a training graph.
        loader: a `Loader`; the names in its batches are those of the graph's inputs.
        devices: list of mx.Context.
        kind: END2END, RPN or RFCN.
        extra_params, validate: see `Trainer`.
        inference_symbol: the graph to write beside the checkpoints, as prefix-symbol.json.
        is_step: this is one step of several, whose config.yaml is in this folder already.
    Raises:
        FolderInUse: another run writes there.
        CheckpointError: the checkpoints that are there are another run's.
        ConfigError: see `check_settings`, `check_device`.
        UnicodeEncodeError: see `check_name`.
    """
    check_settings(cfg)
    check_device(cfg, 'TRAIN')
    identity = identity_of(cfg, kind, loader.roidb)
    check_workers(cfg, identity)
    prefix, first = str(Path(output_path, cfg.TRAIN.model_prefix)), workers().first
    checkpoint.check_name(prefix)
    with locked_folder(os.path.dirname(prefix)) if first else contextlib.nullcontext():
        saved, same_data = share_saved(*begin(cfg, prefix, identity) if first else (None, True))
        if first and not is_step:
            write_config(cfg, os.path.dirname(prefix), identity)
        if first and inference_symbol is not None:
            checkpoint.save_symbol(prefix + checkpoint.SYMBOL_END, inference_symbol)
        _train(cfg, symbol, loader, prefix, devices, saved, same_data,
               dict(extra_params=extra_params, validate=validate, identity=identity))
    return prefix


def check_settings(cfg):
    """Raise a ConfigError for settings that no training can have: of its epochs, of the name of its checkpoints, of its
    rate.
    """
    if not cfg.TRAIN.end_epoch:
        raise ConfigError('TRAIN.end_epoch is 0, so nothing would be trained: give the number of epochs')
    if cfg.TRAIN.begin_epoch and not cfg.TRAIN.RESUME:
        raise ConfigError('TRAIN.begin_epoch is %d, but a new training begins at 0: write TRAIN.RESUME=true to go on '
                          'from the checkpoint of that epoch' % cfg.TRAIN.begin_epoch)
    if not cfg.TRAIN.model_prefix:
        raise ConfigError('TRAIN.model_prefix is empty: give the first part of the names of the checkpoints, such as '
                          'TRAIN.model_prefix=rfcn')
    if cfg.TRAIN.warmup and cfg.TRAIN.warmup_lr > cfg.TRAIN.lr:
        raise ConfigError('TRAIN.warmup_lr is %g and must not exceed TRAIN.lr, which is %g'
                          % (cfg.TRAIN.warmup_lr, cfg.TRAIN.lr))
    if not cfg.TRAIN.lr:
        logger.warning('TRAIN.lr is 0: no weight will change')


def check_workers(cfg, identity):
    """Raise a ConfigError if the workers would not train the same network on the same images."""
    if 'dist' in cfg.default.kvstore and workers().store is None:
        raise ConfigError('default.kvstore is %s, but this process is the only one: rfcn launch starts several, and '
                          'needs no kvstore' % cfg.default.kvstore)
    settings = {key: identity.settings[key] for key in training_keys()}
    workers().check_equal('the configuration', json.dumps(settings, sort_keys=True),
                          'Give all of them the same --cfg and KEY=VALUE')
    workers().check_equal('the data set', str(sorted(summary(identity.data).items())),
                          'Copy the data of the first host to the others')


def begin(cfg, prefix, identity):
    """`resume.begin`; a run that ended within an epoch, as after 7.25 of them, goes on there if more are asked for."""
    saved, same_data = resume.begin(cfg, prefix, identity)
    if saved and saved.progress and saved.progress.step_images and saved.identity:
        ended = saved.identity.settings.get('TRAIN.end_epoch')
        if isinstance(ended, (int, float)) and 0 < ended < cfg.TRAIN.end_epoch \
                and saved.progress.epoch == last_epoch(ended):
            saved = saved._replace(progress=without_end(saved.progress, ended))
    return saved, same_data


def without_end(progress, ended):
    """The Progress of a run that ended after so many epochs, a fraction perhaps, as if it had been stopped there."""
    whole = -(-progress.epoch_images // progress.step_images)
    batches = batches_in(progress.epoch - 1, ended, whole)
    return progress if batches == whole else progress._replace(epoch=progress.epoch - 1,
                                                               images=batches * progress.step_images)


def share_saved(saved, same_data):
    """What `resume.begin` returned on the first worker, on every worker."""
    group = workers()
    if group.count == 1:
        return saved, same_data
    told = saved and dict(progress=saved.progress and saved.progress._asdict(), source=str(saved.source))
    told, same_data = json.loads(group.gather(json.dumps([told, same_data]).encode('utf-8'))[0].decode('utf-8'))
    if told is None:
        return None, same_data
    momenta = (saved.momenta or {}) if saved else {}
    params = checkpoint.tag_params(saved.arg_params, saved.aux_params) if saved else {}
    momenta, params = group.share(momenta), group.share(params)
    progress = states.Progress(**told['progress']) if told['progress'] else None
    return resume.SavedRun(*checkpoint.split_params(params, told['source']), momenta, progress, None,
                           told['source']), same_data


def write_config(cfg, folder, identity):
    """Write config.yaml beside the checkpoints: the settings and a summary of the data that they were trained with."""
    told = '# A training (%s) wrote this. Its checkpoints, beside this file, are to be used with these settings.\n' \
           '# data: %s\n' % (identity.kind, ', '.join('%s %s' % item for item in summary(identity.data).items()))
    save_text(os.path.join(folder, CONFIG), told + dump(cfg))


def _train(cfg, symbol, loader, prefix, devices, saved, same_data, options):
    batch = loader.largest_batch()
    graph = with_bf16_convolutions(symbol) if use_bf16(cfg.TRAIN.PRECISION, 'TRAIN.PRECISION') else symbol
    part = batch.parts[0]
    module = TrainModule(graph, names(part.provide_data), names(part.provide_label), devices,
                         accumulate=cfg.TRAIN.GRAD_ACCUM, fixed=cfg.network.FIXED_PARAMS, frozen=cfg.TRAIN.FREEZE,
                         lr_mult=cfg.TRAIN.LR_MULT)
    module.start(batch, *first_params(cfg, symbol, part, saved),
                 optimizer_params=optimizer_params(cfg, len(loader), loader.step_size // loader.batch_size),
                 kvstore=workers().store or cfg.default.kvstore, half_wire=cfg.TRAIN.WIRE_PRECISION == 'fp16')
    memory.log_expected(len(loader.roidb), loader.sizes(), module.expected_memory())
    trainer = Trainer(module, loader, prefix, frequent=cfg.default.frequent, period=cfg.TRAIN.CHECKPOINT_PERIOD,
                      keep=cfg.TRAIN.KEEP_CHECKPOINTS, eval_period=cfg.TRAIN.EVAL_PERIOD,
                      workers=workers(), **options)
    epoch, images, order_images = go_on(trainer, saved, same_data, cfg, loader) if saved else (0, 0, None)
    try:
        trainer.fit(epoch, cfg.TRAIN.end_epoch, images, order_images)
    finally:
        loader.log_skipped()


def go_on(trainer, saved, same_data, cfg, loader):
    """Let a trainer continue a saved run.

    Returns:
        finished epochs, images done of the next one, and the batch size that its order was drawn for.
    """
    counts = dict(epoch_images=len(loader.roidb), step_images=loader.step_size, accumulate=cfg.TRAIN.GRAD_ACCUM)
    before = saved.progress
    if before is None:
        # parameters of the release: continue the schedule as if this project had trained the epochs before
        before = states.Progress(cfg.TRAIN.begin_epoch, 0, 0, 0, None, None, 0, 0, 0, 0)
        progress = resume.fitted(before, True, **counts)
    else:
        progress = resume.fitted(before, same_data, **counts)
        if before.step_images * before.accumulate != loader.step_size * cfg.TRAIN.GRAD_ACCUM:
            logger.warning('%s: an update was made of %d images and is now made of %d. Each image is still seen once '
                           'an epoch and the learning rate drops after the same epochs, but the result is not that of '
                           'a run without the change; TRAIN.lr may need to follow', saved.source,
                           before.step_images * before.accumulate, loader.step_size * cfg.TRAIN.GRAD_ACCUM)
    trainer.go_on(saved.momenta or {}, progress, own_states=saved.progress is not None)
    logger.info('going on from %s: %s and %s done', saved.source, counted(progress.epoch, 'epoch'),
                counted(progress.images, 'image'))
    return progress.epoch, progress.images, progress.order_images


def names(descriptions):
    """The names of the inputs that a batch describes."""
    return [description.name for description in descriptions]


def first_params(cfg, symbol, batch, saved):
    """Parameters to start from: a checkpoint's, a pretrained trunk's with new heads, or all new.

    Args:
        batch: of one device.
    """
    per_device = {name: value.shape for name, value in batch.inputs.items()}
    if saved:
        checkpoint.check_params(symbol, per_device, saved.arg_params, saved.aux_params, saved.source)
        return saved.arg_params, saved.aux_params
    params = start_params(cfg, symbol, per_device) if workers().first else ({}, {})
    return checkpoint.split_params(workers().share(checkpoint.tag_params(*params)), 'the parameters of worker 0')


def optimizer_params(cfg, batches, devices=1):
    """Settings of SGD. Gradients are summed over devices, as in the release: more devices, a larger effective rate.

    With TRAIN.LR_IMAGES they are means over all images of an update, and the rate follows the number of these.

    Args:
        batches: per epoch. devices: of all workers.
    """
    settings = cfg.TRAIN
    *rates, parts = update_rates(settings, devices)
    schedule = lr_schedule(rates[0], settings.lr_step, updates_per_epoch(batches, settings.GRAD_ACCUM),
                           factor=settings.lr_factor, warmup=settings.warmup, warmup_lr=rates[1], warmup_step=rates[2],
                           warmup_mode=settings.warmup_mode)
    return dict(momentum=settings.momentum, wd=settings.wd, learning_rate=rates[0], lr_scheduler=schedule,
                rescale_grad=1.0 / parts, clip_gradient=settings.CLIP_GRADIENT or None)


def update_rates(settings, devices):
    """Learning rate of an update, that of its warm-up, the warm-up's updates, and what the sum of gradients, each of a
    device's batch, is divided by.

    Args:
        settings: cfg.TRAIN. devices: of all workers.
    """
    rates, parts = (settings.lr, settings.warmup_lr, settings.warmup_step), settings.GRAD_ACCUM
    if settings.LR_IMAGES:
        parts *= devices
        rates = linear_scaling(settings.BATCH_IMAGES * parts, settings.LR_IMAGES, *rates)
    return (*rates, parts)


def validation(cfg):
    """A function (epoch, arg_params, aux_params) -> Evaluation on `dataset.val_image_set` and pictures of detections.

    None where none is wanted. A set that is named and not there is an error in any case.
    """
    if not cfg.dataset.val_image_set:
        return None
    if not cfg.TRAIN.EVAL_PERIOD:
        read_annotated(cfg.dataset.dataset, cfg.dataset.val_image_set, cfg.dataset.dataset_path,
                       **data_sets.reading_options(cfg))
        logger.warning('dataset.val_image_set is %s, but it is not validated on: TRAIN.EVAL_PERIOD is 0',
                       cfg.dataset.val_image_set)
        return None
    if cfg.TEST.PRECISION == 'int8':
        logger.warning('TEST.PRECISION is int8, and the validation computes in fp32: an INT8 model is made of a '
                       'checkpoint, by rfcn quantize')
        cfg = with_overrides(cfg, {'TEST.PRECISION': 'fp32'})
    check_device(cfg, 'TEST')   # now, and not after the first epoch
    imdb, = data_sets.datasets(cfg, cfg.dataset.val_image_set)
    check_usable([imdb], 'validated on')
    imdb.check_headers()
    unnormalised = inference.unnormalised(cfg)

    def validate(epoch, arg_params, aux_params):
        boxes = {name[:-len(checkpoint.TEST_SUFFIX)]: value for name, value in unnormalised(arg_params).items()}
        predictor = inference.predictor_of_params(cfg, dict(arg_params, **boxes), aux_params, 'epoch %d' % epoch)
        evaluation, all_boxes = evaluate(cfg, predictor, imdb)
        return evaluation, pictures_of(cfg, imdb, all_boxes) if workers().first else []
    return validate


def pictures_of(cfg, imdb, all_boxes):
    """(name, image) of the detections on some images of a data set, evenly spaced over it."""
    found = []
    for image in np.unique(np.linspace(0, imdb.num_images - 1, PICTURES).astype(int)):
        index = imdb.image_set_index[image]
        with contextlib.suppress(DatasetError, FileNotFoundError):      # on_bad_image: skip
            im = imread(imdb.image_path(index), cfg.dataset.MAX_PIXELS)
            found.append((index, draw_detections(im, [of_class[image] for of_class in all_boxes], imdb.classes, 0.5)))
    return found
