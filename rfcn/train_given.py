"""Train R-FCN on proposals from files: `rfcn train_given --cfg X.yaml [--proposals FILE] [KEY=VALUE ...]`."""
import sys
from pathlib import Path

if __package__ in (None, ''):
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a file: the folder of rfcn and lib, not rfcn itself

from lib.rcnn.sample_rois import BACKGROUND, IGNORED
from rfcn import build, training
from rfcn.checkpoints import checkpoint
from rfcn.cli.run import parse_config, start_training
from rfcn.cli.script import run_script
from rfcn.core.module import contexts
from rfcn.core.target_loaders import RoiLoader
from rfcn.proposals import add_argument, proposal_paths, training_rois
from rfcn.symbols import make_symbol


def train_given(cfg, output_path, paths, devices=None, is_step=False):
    """Train to `TRAIN.end_epoch`. Returns the prefix of the checkpoints; arguments as in `rfcn/train_end2end.py`.

    Args:
        paths: of files of proposals, one for each set of `dataset.image_set`.
        is_step: see `training.train`.
    """
    devices = devices or contexts(cfg.gpus)
    roidb, means, stds = training_rois(cfg, paths)
    symbol = make_symbol(cfg).get_symbol_rfcn(is_train=True)
    loader = roi_loader(cfg, roidb, len(devices))
    prefix = str(Path(output_path) / cfg.TRAIN.model_prefix)

    def unnormalised(arg_params):
        return checkpoint.unnormalised_bbox(arg_params, means, stds, cfg.network.POOLED_SIZE ** 2)
    training.train(cfg, symbol, loader, prefix, devices, kind=training.RFCN, extra_params=unnormalised,
                   is_step=is_step)
    return prefix


def roi_loader(cfg, roidb, devices=1):
    """The loader of the R-FCN graph; each device gets TRAIN.BATCH_IMAGES images a step."""
    train = cfg.TRAIN
    sampling = dict(fg_thresh=train.FG_THRESH, bg_thresh_hi=train.BG_THRESH_HI, bg_thresh_lo=train.BG_THRESH_LO,
                    num_classes=cfg.dataset.NUM_CLASSES, class_agnostic=cfg.CLASS_AGNOSTIC,
                    bbox_weights=train.BBOX_WEIGHTS, pad_label=BACKGROUND if cfg.RELEASE_RULES else IGNORED)
    # As end to end and as in the release: BATCH_ROIS is shared out to the images of a device.
    rois_per_image = train.BATCH_ROIS if train.BATCH_ROIS == -1 else train.BATCH_ROIS // train.BATCH_IMAGES
    return RoiLoader(roidb, train.BATCH_IMAGES, rois_per_image=rois_per_image, fg_fraction=train.FG_FRACTION,
                     sampling=sampling, shuffle=train.SHUFFLE, threads=train.WORKERS,
                     aspect_grouping=train.ASPECT_GROUPING, shuffle_whole_batches=not cfg.RELEASE_RULES,
                     on_bad_image=cfg.dataset.on_bad_image, **build.shares(devices),
                     **build.image_settings(cfg, cfg.SCALES))


def main(argv=None):
    """Entry point."""
    cfg, args = parse_config(__doc__, argv, add_argument)
    with start_training(cfg, args) as (cfg, output_path):
        train_given(cfg, output_path, args.proposals or proposal_paths(cfg, args.cfg, cfg.dataset.image_set))


if __name__ == '__main__':
    run_script(main)
