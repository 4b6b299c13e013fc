"""Train R-FCN end to end: `python rfcn/train_end2end.py --cfg X.yaml [KEY=VALUE ...]`."""
import sys
from pathlib import Path

if __package__ in (None, ''):
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a file: the folder of rfcn and lib, not rfcn itself

import logging

from rfcn import build
from rfcn.command_line import parse_config, start_run
from rfcn.core import checkpoint
from rfcn.core.module import TrainModule, contexts
from rfcn.core.schedule import lr_schedule
from rfcn.core.trainer import Trainer
from rfcn.evaluate import evaluate
from rfcn.symbols import make_symbol
from rfcn.symbols.initialize import init_params

logger = logging.getLogger(__name__)

DATA_NAMES = ['data', 'im_info', 'gt_boxes']
LABEL_NAMES = ['label', 'bbox_target', 'bbox_weight']


def optimizer_params(cfg, num_images, batch_size):
    """Of SGD. Gradients are summed over devices, as in the release: the effective learning rate grows with their number."""
    train = cfg.TRAIN
    schedule = lr_schedule(train.lr, train.lr_step, num_images / (batch_size * train.GRAD_ACCUM), factor=train.lr_factor,
                           warmup=train.warmup, warmup_lr=train.warmup_lr, warmup_step=train.warmup_step)
    return dict(momentum=train.momentum, wd=train.wd, learning_rate=train.lr, lr_scheduler=schedule,
                rescale_grad=1.0 / train.GRAD_ACCUM, clip_gradient=train.CLIP_GRADIENT or None)


def begin_epoch(cfg, prefix):
    """0, or where RESUME takes the run up."""
    if cfg.TRAIN.RESUME == 'auto':
        return max(checkpoint.epochs_with_states(prefix), default=0)
    return cfg.TRAIN.begin_epoch if cfg.TRAIN.RESUME else 0


def first_params(cfg, symbol, batch, prefix, epoch):
    """Parameters to start from: a checkpoint's, a pretrained trunk's with new heads, or all new."""
    shapes = {desc.name: desc.shape for desc in batch.provide_data + batch.provide_label}
    per_device = {name: (cfg.TRAIN.BATCH_IMAGES,) + shape[1:] for name, shape in shapes.items()}
    if epoch:
        path = checkpoint.params_path(prefix, epoch)
        arg_params, aux_params = checkpoint.load_params(path)
        checkpoint.check_params(symbol, per_device, arg_params, aux_params, path)
        return arg_params, aux_params
    given = ({}, {})
    if cfg.network.pretrained:
        given = checkpoint.load_params(checkpoint.params_path(cfg.network.pretrained, cfg.network.pretrained_epoch))
    arg_params, aux_params, fresh = init_params(symbol, per_device, *given, seed=cfg.seed)
    logger.info('%d parameters start from random values: %s', len(fresh), ', '.join(fresh))
    return arg_params, aux_params


def train_net(cfg, output_path):
    """Train from `TRAIN.begin_epoch` to `TRAIN.end_epoch`. Returns the prefix of the checkpoints."""
    roidb = build.training_roidb(cfg)
    symbol = make_symbol(cfg).get_symbol(is_train=True)
    devices = contexts(cfg.gpus)
    batch_size = cfg.TRAIN.BATCH_IMAGES * len(devices)
    loader = build.anchor_loader(cfg, roidb, symbol, batch_size)
    prefix = str(Path(output_path) / cfg.TRAIN.model_prefix)
    epoch = begin_epoch(cfg, prefix)
    batch = next(loader.batches(epoch))
    module = TrainModule(symbol, DATA_NAMES, LABEL_NAMES, devices, fixed=list(cfg.network.FIXED_PARAMS) + list(cfg.TRAIN.FREEZE),
                         accumulate=cfg.TRAIN.GRAD_ACCUM)
    module.start(batch, *first_params(cfg, symbol, batch, prefix, epoch),
                 optimizer_params=optimizer_params(cfg, len(roidb), batch_size), kvstore=cfg.default.kvstore)
    trainer = Trainer(module, loader, prefix, ohem=cfg.TRAIN.ENABLE_OHEM, seed=cfg.seed, frequent=cfg.default.frequent,
                      period=cfg.TRAIN.CHECKPOINT_PERIOD, extra_params=build.unnormalised(cfg),
                      validate=validation(cfg) if cfg.dataset.val_image_set else None, eval_period=cfg.TRAIN.EVAL_PERIOD)
    if epoch:
        trainer.resume(epoch)
    trainer.fit(epoch, cfg.TRAIN.end_epoch)
    return prefix


def validation(cfg):
    """A function (epoch, arg_params, aux_params) -> Evaluation on `dataset.val_image_set`."""
    imdb, = build.datasets(cfg, cfg.dataset.val_image_set)
    to_test = build.unnormalised(cfg)

    def validate(epoch, arg_params, aux_params):
        test_params = {name[:-len(checkpoint.TEST_SUFFIX)]: value for name, value in to_test(arg_params).items()}
        predictor = build.predictor_of_params(cfg, dict(arg_params, **test_params), aux_params, 'epoch %d' % epoch)
        return evaluate(cfg, predictor, imdb)[0]
    return validate


def main(argv=None):
    """Entry point."""
    cfg, args = parse_config(__doc__, argv)
    cfg, output_path = start_run(cfg, args, cfg.dataset.image_set)
    train_net(cfg, output_path)


if __name__ == '__main__':
    main()
