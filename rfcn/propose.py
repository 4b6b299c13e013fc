"""Make proposals and measure their recall: `rfcn propose --cfg X.yaml [--image_set SET] [KEY=VALUE ...]`.

TEST.PROPOSAL_NMS_THRESH, _PRE_NMS_TOP_N, _POST_NMS_TOP_N and _MIN_SIZE say how many proposals there are and how much
they may overlap.
"""
import sys
from pathlib import Path

if __package__ in (None, ''):
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a file: the folder of rfcn and lib, not rfcn itself

import logging

import numpy as np

from lib.dataset.imdb import append_flipped_images, filter_roidb
from lib.dataset.proposals import check_proposals, load_proposals, save_proposals
from lib.errors import ConfigError
from lib.rcnn.sample_rois import add_roi_targets
from lib.rpn.proposal import recall_table
from lib.utils.console import progress
from lib.utils.limits import is_there
from rfcn import data_sets, inference
from rfcn.cli.run import add_params, last_checkpoint, parse_config, run_folder, start_run
from rfcn.cli.script import run_script
from rfcn.config.config import with_overrides
from rfcn.core.image_loaders import image_loader, largest_first, proposal_scale
from rfcn.operator_py.proposal import without_repetition

logger = logging.getLogger(__name__)

SETTINGS = ('NMS_THRESH', 'PRE_NMS_TOP_N', 'POST_NMS_TOP_N', 'MIN_SIZE')
RECALL_COUNTS = (10, 50, 100, 300, 1000, 2000)


def proposal_settings(cfg):
    """The configuration whose test graph makes proposals for training.

    Departure: the release never reads TEST.PROPOSAL_* and trains R-FCN on the 300 proposals per image of TEST.RPN_*.
    """
    return with_overrides(cfg, {'TEST.RPN_' + name: cfg.TEST['PROPOSAL_' + name] for name in SETTINGS})


def make_proposals(cfg, folder, params, image_sets):
    """Write the proposals of each set of 'a+b' to a file in `folder` and print their recall.

    Args:
        params: path of a checkpoint.
    Returns:
        list of the files' paths.
    Raises:
        NoInput: something else than a file has one of these paths.
    """
    cfg = proposal_settings(cfg)
    predictor = inference.rpn_predictor(cfg, params)
    imdbs = data_sets.datasets(cfg, image_sets)
    paths = [proposals_path(folder, imdb) for imdb in imdbs]
    for path in paths:
        is_there(path)      # a FIFO in its place would be waited for
    for imdb, path in zip(imdbs, paths):
        roidb, scale = imdb.gt_roidb(), proposal_scale(cfg)
        order = largest_first(roidb, scale)
        loader = image_loader(cfg, [roidb[number] for number in order], scale=scale)
        found = propose_all(predictor, loader)
        all_proposals = [found[place] for place in np.argsort(order)]
        loader.log_skipped()
        save_proposals(path, imdb.image_set_index, all_proposals)
        logger.info('wrote %s', path)
        log_recall(imdb, all_proposals, cfg.TEST.RPN_POST_NMS_TOP_N)
    return paths


def propose_all(predictor, loader):
    """The proposals of every image of a loader.

    Args:
        predictor: a `Predictor` of the RPN's test graph.
        loader: an `ImageLoader`.
    Returns:
        list over images of (n, 5) float32 boxes in pixels of the image and scores, the best first; none for an image
        that could not be read, where the loader skips those.
    """
    proposals = []
    for batch in progress(loader.batches(), 'proposals', 'batch', len(loader)):
        outputs = predictor.predict(batch)
        rois = outputs['rois'].reshape(loader.batch_size, -1, 5)
        scores = outputs['rois_score'].reshape(loader.batch_size, -1, 1)
        scales = batch.data[1].asnumpy()[:, 2]
        for i in range(loader.batch_size - batch.pad):
            dets = np.hstack((rois[i, :, 1:] / scales[i], scores[i])).astype(np.float32)
            read = batch.images[i] == loader.roidb[len(proposals)]['image']
            proposals.append(without_repetition(dets) if read else dets[:0])
    return proposals


def proposals_path(folder, imdb):
    """Where the proposals of a data set are kept; the release has a pickle of this name."""
    return str(Path(folder) / (imdb.name + '_rpn.npz'))


def proposal_paths(cfg, cfg_path, image_sets):
    """The files that rfcn propose wrote for each set of 'a+b'.

    Raises:
        ConfigError: `dataset.proposal` names another source of proposals.
    """
    if cfg.dataset.proposal != 'rpn':
        raise ConfigError('dataset.proposal is %s and not rpn: name the files with --proposals' % cfg.dataset.proposal)
    return [proposals_path(run_folder(cfg, cfg_path, image_sets), imdb) for imdb in data_sets.datasets(cfg, image_sets)]


def add_proposals(parser):
    """The argument --proposals, for scripts that read them."""
    parser.add_argument('--proposals', action='append', metavar='FILE',
                        help='proposals, once for each set of images; by default those that rfcn propose made')


def sets_with_files(cfg, image_sets, paths):
    """Each data set of 'a+b' with its file of proposals.

    Raises:
        ConfigError: there are more or fewer files than sets.
    """
    imdbs = data_sets.datasets(cfg, image_sets)
    if len(imdbs) != len(paths):
        raise ConfigError('expected a file of proposals for each of the image sets %s, in this order; found %d: %s'
                          % (image_sets.replace('+', ', '), len(paths), ', '.join(map(str, paths))))
    return list(zip(imdbs, paths))


def with_proposals(imdb, path):
    """The entries of a data set with the proposals of a file. An image that has none gets one, the whole image."""
    entries = imdb.gt_roidb()
    for entry, proposals in zip(entries, load_proposals(path, imdb.image_set_index)):
        check_proposals(proposals, entry, path)
        whole = np.array([[0, 0, entry['width'] - 1, entry['height'] - 1, 0]], dtype=np.float32)
        entry['proposals'] = proposals if len(proposals) else whole
    return entries


def training_rois(cfg, paths):
    """What R-FCN trains on, given the proposals of each training set.

    Args:
        paths: a file for each set of `dataset.image_set`.
    Returns:
        roidb, means, stds: of `lib.rcnn.sample_rois.add_roi_targets`; flipped copies included.
    """
    train = cfg.TRAIN
    given = train.BBOX_NORMALIZATION_PRECOMPUTED
    roidb = []
    for imdb, path in sets_with_files(cfg, cfg.dataset.image_set, paths):
        entries = with_proposals(imdb, path)
        roidb += append_flipped_images(entries) if train.FLIP else entries
    # Departure: the release drops images without objects here where BG_THRESH_LO is above 0, and keeps them where it
    # is 0. Here they are kept, and their proposals are background.
    dropped = cfg.RELEASE_RULES and train.BG_THRESH_LO > 0
    roidb = filter_roidb(roidb, keep_empty=train.KEEP_EMPTY and not dropped)
    roidb, means, stds = add_roi_targets(
        roidb, num_classes=cfg.dataset.NUM_CLASSES, class_agnostic=cfg.CLASS_AGNOSTIC,
        thresh=train.BBOX_REGRESSION_THRESH, bbox_means=train.BBOX_MEANS if given else None,
        bbox_stds=train.BBOX_STDS if given else None)
    logger.info('box targets: means %s, deviations %s', np.round(means, 4).tolist(), np.round(stds, 4).tolist())
    return roidb, means, stds


def log_recall(imdb, all_proposals, most):
    """Log the share of a data set's objects that its proposals find.

    Args:
        most: largest number of proposals per image.
    """
    counts = [count for count in RECALL_COUNTS if count < most] + [most]
    boxes = [entry['boxes'] for entry in imdb.gt_roidb()]
    logger.info('recall of the proposals for %s\n%s', imdb.name, recall_table(all_proposals, boxes, counts))


def add_arguments(parser):
    """Add the arguments of this script."""
    add_params(parser)
    parser.add_argument('--image_set', help='images to make proposals for; by default dataset.test_image_set')


def main(argv=None):
    """Entry point."""
    cfg, args = parse_config(__doc__, argv, add_arguments)
    image_set = args.image_set or cfg.dataset.test_image_set
    params = args.params or last_checkpoint(cfg, args.cfg)
    folder = run_folder(cfg, args.cfg, image_set)
    with start_run(cfg, folder, params) as cfg:
        make_proposals(cfg, folder, params, image_set)


if __name__ == '__main__':
    run_script(main)
