"""Proposals of data sets: where their files are, the images joined with them, and how many objects they find."""
import logging
from pathlib import Path

import numpy as np

from lib.dataset.roidb import append_flipped_images, filter_roidb
from lib.errors import ConfigError
from lib.rcnn.given_rois import add_roi_targets
from lib.rpn.recall import recall_table
from lib.utils.proposals import fit_proposals, load_proposals
from rfcn import build
from rfcn.cli.run import run_folder

logger = logging.getLogger(__name__)

RECALL_COUNTS = (10, 50, 100, 300, 1000, 2000)


def proposals_path(folder, imdb):
    """Where the proposals of a data set are kept; the release has a pickle of this name."""
    return str(Path(folder) / (imdb.name + '_rpn.npz'))


def proposal_paths(cfg, cfg_path, image_sets):
    """The files that rfcn propose wrote for each set of 'a+b'.

    Raises:
        ConfigError: `dataset.proposal` says that the proposals are somebody else's.
    """
    if cfg.dataset.proposal != 'rpn':
        raise ConfigError('dataset.proposal is %s and not rpn: name the files with --proposals' % cfg.dataset.proposal)
    return [proposals_path(run_folder(cfg, cfg_path, image_sets), imdb) for imdb in build.datasets(cfg, image_sets)]


def add_argument(parser):
    """Of the scripts that read proposals."""
    parser.add_argument('--proposals', action='append', metavar='FILE',
                        help='proposals, once for each set of images; by default those that rfcn propose made')


def sets_with_files(cfg, image_sets, paths):
    """Each data set of 'a+b' with its file of proposals.

    Raises:
        ConfigError: there are more or fewer files than sets.
    """
    imdbs = build.datasets(cfg, image_sets)
    if len(imdbs) != len(paths):
        raise ConfigError('expected a file of proposals for each of the image sets %s, in this order; found %d: %s'
                          % (image_sets.replace('+', ', '), len(paths), ', '.join(map(str, paths))))
    return list(zip(imdbs, paths))


def with_proposals(imdb, path):
    """The entries of a data set with the proposals of a file. An image that has none gets one, the whole image."""
    entries = imdb.gt_roidb()
    for entry, proposals in zip(entries, load_proposals(path, imdb.image_set_index)):
        fit_proposals(proposals, entry, path)  # checked, not clipped: the RPN's own end where the enlarged image did
        whole = np.array([[0, 0, entry['width'] - 1, entry['height'] - 1, 0]], dtype=np.float32)
        entry['proposals'] = proposals if len(proposals) else whole
    return entries


def training_rois(cfg, paths):
    """What R-FCN trains on, given the proposals of each training set.

    Args:
        paths: a file for each set of `dataset.image_set`.
    Returns:
        roidb, means, stds: of `lib.rcnn.given_rois.add_roi_targets`; flipped copies included.
    """
    train = cfg.TRAIN
    given = train.BBOX_NORMALIZATION_PRECOMPUTED
    roidb = []
    for imdb, path in sets_with_files(cfg, cfg.dataset.image_set, paths):
        entries = with_proposals(imdb, path)
        roidb += append_flipped_images(entries) if train.FLIP else entries
    # The release keeps images without objects here: their proposals are background.
    roidb = filter_roidb(roidb, keep_empty=train.KEEP_EMPTY)
    roidb, means, stds = add_roi_targets(
        roidb, num_classes=cfg.dataset.NUM_CLASSES, class_agnostic=cfg.CLASS_AGNOSTIC,
        thresh=train.BBOX_REGRESSION_THRESH, bbox_means=train.BBOX_MEANS if given else None,
        bbox_stds=train.BBOX_STDS if given else None)
    logger.info('box targets: means %s, deviations %s', np.round(means, 4).tolist(), np.round(stds, 4).tolist())
    return roidb, means, stds


def log_recall(imdb, all_proposals, most):
    """Print which part of a data set's objects its proposals find.

    Args:
        most: how many proposals an image may have.
    """
    counts = [count for count in RECALL_COUNTS if count < most] + [most]
    boxes = [entry['boxes'] for entry in imdb.gt_roidb()]
    logger.info('recall of the proposals for %s\n%s', imdb.name, recall_table(all_proposals, boxes, counts))
