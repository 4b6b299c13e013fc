"""What a row rests on: the heads of its configuration files, its schedule in images, its trunk."""
import os
from pathlib import Path

from experiments.rows.schedule import row_steps
from experiments.rows.table import ALTERNATE, GIVEN, ROOT, TEST
from lib.errors import UserError
from rfcn.checkpoints.checkpoint import start_path
from rfcn.checkpoints.identity import backbone_settings
from rfcn.config.config import base_files, load_config
from rfcn.core.image_loaders import detection_scales, proposal_scale

STEP = '%-6s %11s %12s %12s %9s %8s %14s'
ONE_STAGE = '_class_rpn'     # the end of the names of networks without RoIs
HEAD = STEP % ('step', 'rate/image', 'images at it', 'images', 'updates', 'epochs', 'warm-up images')


def explain(row, overrides=()):
    """Text: which source gives each number of a row, what is inferred, and what that comes to."""
    cfg = load_config(row.cfg_path, list(overrides))
    lines = ['%s: %s' % (row.name, row.what), '']
    for path in base_files(str(row.cfg_path)):
        lines += [os.path.relpath(path, str(ROOT))] + ['    ' + line for line in comments(path)] + ['']
    return '\n'.join(lines + schedule_lines(row, overrides) + [''] + setting_lines(cfg, row.kind) + trunk_lines(cfg))


def comments(path):
    """The comment at the head of a YAML file, line by line."""
    lines = []
    for line in Path(path).read_text(encoding='utf-8').splitlines():
        if not line.startswith('#'):
            break
        lines.append(line.lstrip('# '))
    return lines


def schedule_lines(row, overrides):
    """The table of the steps."""
    if row.kind == TEST:
        return ['It trains nothing: it tests the network of %s.' % row.starts_from]
    try:
        found = row_steps(row, overrides)
    except (UserError, OSError) as error:
        return ['Its images are not here (%s), so that its schedule cannot be counted in them.' % error]
    cfg = load_config(row.cfg_path, list(overrides))
    devices = cfg.gpus.count(',') + 1 if cfg.gpus else 0
    lines = ['%s, %d images per update; a gradient is %s.'
             % ('%d GPUs' % devices if devices else 'the CPU', found[-1].batch,
                'the mean over them' if cfg.TRAIN.LR_IMAGES else 'summed over devices'), HEAD]
    for step in found:
        at_rate = step.drops[0] if step.drops else step.images
        warmup = '%d at %g' % (step.warmup, step.warmup_rate) if step.warmup else 'none'
        lines.append(STEP % (step.name, '%g' % step.rate, at_rate, step.images, step.updates, '%g' % step.epochs,
                             warmup))
    return lines


def setting_lines(cfg, kind):
    """What else decides the result, in a line each."""
    train, test = cfg.TRAIN, cfg.TEST

    def shown(scales):
        return ', '.join('%d/%d' % scale for scale in scales)
    images = (kind == ALTERNATE and train.ALTERNATE.RCNN_BATCH_IMAGES) or train.BATCH_IMAGES
    rois = 'OHEM keeps %d of all' % train.BATCH_ROIS_OHEM if train.ENABLE_OHEM else \
        '%d, background from IoU %g' % (train.BATCH_ROIS // images, train.BG_THRESH_LO)
    lines = ['images: trained at %s, tested at %s (shorter side / limit of the longer)'
             % (shown(cfg.SCALES), shown(detection_scales(cfg)))]
    if cfg.symbol.endswith(ONE_STAGE):
        return lines + ['anchors per image that train: %d' % train.RPN_BATCH_SIZE]
    lines.append('RoIs per image that train: ' + rois)
    if kind == ALTERNATE:
        lines.append('proposals to train on: %d of the %d best anchors, sides of %d pixels or more, made at %s'
                     % (test.PROPOSAL_POST_NMS_TOP_N, test.PROPOSAL_PRE_NMS_TOP_N, test.PROPOSAL_MIN_SIZE,
                        shown([proposal_scale(cfg)])))
    elif kind != GIVEN:
        lines.append('proposals in training: %d of the %d best anchors, sides of %d pixels or more'
                     % (train.RPN_POST_NMS_TOP_N, train.RPN_PRE_NMS_TOP_N, train.RPN_MIN_SIZE))
    return lines


def trunk_lines(cfg):
    """Which weights it starts from, and whether they are here."""
    if not cfg.network.pretrained:
        return ['trunk: none, it starts from random weights']
    path = start_path(cfg.network.pretrained, cfg.network.pretrained_epoch)
    if not Path(path).is_file():
        return ['starts from %s, which is not here; --run makes it, of GluonCV\'s classifier or of the row before'
                % os.path.relpath(path, str(ROOT))]
    noted = ', '.join('%s=%s' % item for item in backbone_settings(path).items())
    origin = 'imported (%s)' % noted if noted else 'as it was put there'
    return ['starts from %s, %s' % (os.path.relpath(path, str(ROOT)), origin)]
