"""What one training image teaches: anchors, proposals, RoIs, losses, from the loader and the graph of the training."""
from pathlib import Path
from typing import Iterator, List, NamedTuple, Optional, Sequence

import mxnet as mx
import numpy as np

from lib.bbox.bbox_transform import bbox_overlaps, nonlinear_pred
from lib.dataset.annotations import BACKGROUND
from lib.errors import DatasetError
from lib.rcnn.sample_rois import LOG_FLOOR
from lib.rpn.anchors import anchors_inside, shifted_anchors
from lib.utils.console import counted
from lib.utils.image import transform_inverse
from rfcn import data_sets
from rfcn.checkpoints import checkpoint
from rfcn.checkpoints.identity import classes_of
from rfcn.checkpoints.pretrained import load_start, start_params
from rfcn.config.config import rois_per_image, with_overrides
from rfcn.core.detect import NETWORK_LOCK
from rfcn.core.target_loaders import anchor_loader
from rfcn.inference import in_order_of_classes
from rfcn.operator_py import use_seeds
from rfcn.symbols import make_symbol

# Of the training graph, the blobs that are shown; a graph without RoIs has the first alone.
BLOBS = ('rpn_cls_prob_output', 'rois_output', 'proposal_target_rois_output', 'proposal_target_label',
         'proposal_target_bbox_target', 'proposal_target_bbox_weight', 'cls_prob_output', 'bbox_loss__output',
         'labels_ohem_output')


class ObjectReport(NamedTuple):
    """What trains on one object."""
    class_name: str
    box: np.ndarray         # (4,) in pixels of the network's input
    best_anchor: float      # the highest IoU of an anchor within the image
    anchors: int            # how many positive anchors train on it
    rois: int               # how many foreground RoIs are its own
    kept: int               # how many of these back-propagate


class RoIs(NamedTuple):
    """The RoIs of an image after sampling, before OHEM. S of them."""
    boxes: np.ndarray       # (S, 4) pixels of the network's input
    labels: np.ndarray      # (S,) class, 0 background, -1 padding
    overlaps: np.ndarray    # (S,) the highest IoU with an object
    owners: np.ndarray      # (S,) its row in gt_boxes, -1 without objects
    targets: np.ndarray     # (S, 4) the boxes that foreground RoIs are to become
    cls_loss: np.ndarray    # (S,) cross-entropy, 0 for the padding
    box_loss: np.ndarray    # (S,) weighted smooth L1, 0 for the padding
    kept: np.ndarray        # (S,) bool, whether it back-propagates; without OHEM all but the padding


class TrainingImage(NamedTuple):
    """See `training_images`. Boxes are in pixels of the network's input."""
    path: str                           # of the file
    image: np.ndarray                   # (h, w, 3) uint8 BGR as the network gets it
    gt_boxes: np.ndarray                # (G, 5) boxes and classes
    classes: Sequence[str]
    anchors: np.ndarray                 # (K, 4)
    anchor_labels: np.ndarray           # (K,) 1 positive (or its class), 0 negative, -1 ignored
    fg_thresh: float                    # IoU from which on an anchor is positive
    proposals: Optional[np.ndarray]     # (n, 4), the best first; None without RoIs
    rois: Optional[RoIs]                # None for a graph without them
    objects: List[ObjectReport]         # for each row of gt_boxes

    def sentences(self) -> List[str]:
        """The findings, in sentences."""
        count, labels = len(self.objects), self.anchor_labels
        starved = ['%s (best %.3f)' % (o.class_name, np.floor(1000 * o.best_anchor) / 1000) for o in self.objects
                   if o.best_anchor < self.fg_thresh]
        said = ['%s; %s positive, %d negative of %d.'
                % (counted(count, 'object'), counted((labels > 0).sum(), 'anchor'), (labels == 0).sum(), len(labels))]
        if starved:
            said.append('%d of %d objects have no positive anchor of IoU >= %g: %s.'
                        % (len(starved), count, self.fg_thresh, ', '.join(starved)))
        unseen = [o.class_name for o in self.objects if not o.anchors]
        if unseen:
            said.append('On %d of %d objects no anchor trains: %s.' % (len(unseen), count, ', '.join(unseen)))
        if self.rois is not None:
            labels, kept = self.rois.labels, self.rois.kept
            said.append('%s: %d foreground, %d background; %d back-propagate, %d of them foreground.'
                        % (counted((labels >= 0).sum(), 'RoI'), (labels > 0).sum(), (labels == 0).sum(), kept.sum(),
                           (labels[kept] > 0).sum()))
            lost = [o.class_name for o in self.objects if not o.rois]
            if lost:
                said.append('%d of %d objects have no RoI of their own: %s.' % (len(lost), count, ', '.join(lost)))
        return said


def training_images(cfg, params: Optional[str] = None, count: int = 1,
                    paths: Optional[Sequence[str]] = None) -> Iterator[TrainingImage]:
    """What the first images of a training's first epoch teach, in the state of a checkpoint.

    Images are computed one at a time: what a RoI or an anchor learns does not depend on the other images of a batch.

    Args:
        cfg: a loaded configuration with classes.
        params: path of a checkpoint; by default the parameters that training starts with.
        count: images. paths: only images whose path is one of these or ends with it: its last folders and its name.
    Raises:
        DatasetError: no image of the training set has such a path.
        CheckpointError: the checkpoint was trained with other anchors, means, ... or classes than the configuration's.
    """
    cfg = with_overrides(cfg, {'TRAIN.BATCH_IMAGES': 1, 'TRAIN.BATCH_ROIS': rois_per_image(cfg)})
    roidb = data_sets.training_roidb(cfg)
    if paths:
        ends = [Path(path).parts for path in paths]
        roidb = [entry for entry in roidb if any(Path(entry['image']).parts[-len(end):] == end for end in ends)]
        if not roidb:
            raise DatasetError('%s: no image of the training set %s has this path'
                               % (', '.join(paths), cfg.dataset.image_set))
    symbol = make_symbol(cfg).get_symbol(is_train=True)
    loader = anchor_loader(cfg, roidb, symbol)
    internals = symbol.get_internals()
    graph = mx.sym.Group([internals[name] for name in BLOBS if name in internals.list_outputs()])
    network = None
    for _, batch in zip(range(count), loader.batches()):
        if network is None:
            network = _parameters(cfg, symbol, batch, params)
        outputs = _forward(graph, network, batch)
        yield _training_image(cfg, loader, batch, outputs)


def _parameters(cfg, symbol, batch, params):
    shapes = {name: value.shape for name, value in batch.inputs.items()}
    if params is None:
        return start_params(cfg, symbol, shapes)[:2]
    arg_params, aux_params, identity = load_start(cfg, params)
    arg_params = in_order_of_classes(arg_params, classes_of(identity), cfg, params)
    checkpoint.check_params(symbol, shapes, arg_params, aux_params, params)
    return arg_params, aux_params


def _forward(graph, params, batch):
    """The outputs of a training step, name without '_output' -> array; nothing is updated."""
    inputs = {name: value for name, value in batch.inputs.items() if name in graph.list_arguments()}
    with NETWORK_LOCK:
        executor = graph.simple_bind(mx.cpu(), grad_req='null', **{name: x.shape for name, x in inputs.items()})
        executor.copy_params_from(*params, allow_extra_params=True)
        use_seeds(mx.cpu(), batch.seeds)
        executor.forward(is_train=True, **inputs)
        outputs = {name: value.asnumpy() for name, value in executor.output_dict.items()}
        use_seeds(mx.cpu(), None)
    return {name.replace('_output', ''): value for name, value in outputs.items()}


def _training_image(cfg, loader, batch, outputs):
    """The TrainingImage of a batch of one image and the `_forward` of it."""
    arrays = {name: value.asnumpy()[0] for name, value in batch.inputs.items()}
    height, width = [int(side) for side in arrays['im_info'][:2]] if 'im_info' in arrays else arrays['data'].shape[1:]
    means = np.array(cfg.network.PIXEL_MEANS)
    image = np.ascontiguousarray(transform_inverse(arrays['data'][None], means)[:height, :width, ::-1])
    rows, columns = loader.feature_shape(*arrays['data'].shape[1:])
    anchors = shifted_anchors(rows, columns, loader.stride, loader.base_anchors)
    labels = arrays['label'].reshape(-1, rows, columns).transpose(1, 2, 0).reshape(-1)      # THE anchor order
    gt_boxes = arrays['gt_boxes'][arrays['gt_boxes'][:, 4] >= 0] if 'gt_boxes' in arrays else _targets_of_anchors(
        arrays, anchors, labels, rows, columns)
    classes = (BACKGROUND,) + tuple(cfg.dataset.CLASSES)
    rois = _rois(cfg, outputs, gt_boxes) if 'proposal_target_label' in outputs else None
    proposals = outputs['rois'][:, 1:] if 'rois' in outputs else None
    objects = _objects(classes, gt_boxes, anchors, labels, (height, width), rois)
    return TrainingImage(batch.images[0], image, gt_boxes, classes, anchors, labels, cfg.TRAIN.RPN_POSITIVE_OVERLAP,
                         proposals, rois, objects)


def _targets_of_anchors(arrays, anchors, labels, rows, columns):
    """The objects of a batch without gt_boxes (a class-specific RPN's): those that its positive anchors learn."""
    target = arrays['bbox_target'].reshape(-1, 4, rows, columns).transpose(2, 3, 0, 1).reshape(-1, 4)
    positive = labels > 0
    boxes = nonlinear_pred(anchors[positive], target[positive])
    return np.unique(np.round(np.hstack((boxes, labels[positive, None])), 1), axis=0).astype(np.float32).reshape(-1, 5)


def _rois(cfg, outputs, gt_boxes):
    boxes, labels = outputs['proposal_target_rois'][:, 1:], outputs['proposal_target_label']
    weights, targets = outputs['proposal_target_bbox_weight'], outputs['proposal_target_bbox_target']
    prob = outputs['cls_prob'].reshape(len(labels), -1)
    of_label = np.maximum(labels, 0).astype(int)
    cls_loss = np.where(labels >= 0, -np.log(prob[np.arange(len(labels)), of_label] + LOG_FLOOR), 0)
    box_loss = (outputs['bbox_loss_'] * weights).sum(axis=1)
    kept = outputs.get('labels_ohem', labels) >= 0
    overlaps = bbox_overlaps(boxes, gt_boxes[:, :4]) if len(gt_boxes) else np.zeros((len(boxes), 0))
    owners = overlaps.argmax(axis=1) if len(gt_boxes) else np.full(len(boxes), -1)
    first = np.where(weights.any(axis=1), (weights != 0).argmax(axis=1), 0)      # column of the set that is trained
    deltas = np.stack([row[column:column + 4] for row, column in zip(targets, first)])
    if cfg.TRAIN.BBOX_NORMALIZATION_PRECOMPUTED:
        deltas = deltas * np.array(cfg.TRAIN.BBOX_STDS) + np.array(cfg.TRAIN.BBOX_MEANS)
    return RoIs(boxes, labels, overlaps.max(axis=1, initial=0), owners, nonlinear_pred(boxes, deltas), cls_loss,
                box_loss, kept)


def _objects(classes, gt_boxes, anchors, labels, size, rois):
    inside = anchors_inside(anchors, size)
    best = np.zeros(len(gt_boxes))
    owners = np.full(len(anchors), -1)
    if len(inside) and len(gt_boxes):
        overlaps = bbox_overlaps(anchors[inside], gt_boxes[:, :4])                                  # (inside, G)
        best, owners[inside] = overlaps.max(axis=0), overlaps.argmax(axis=1)
    reports = []
    for number, row in enumerate(gt_boxes):
        own = (rois.owners == number) & (rois.labels > 0) if rois is not None else np.zeros(0, dtype=bool)
        kept = int((own & rois.kept).sum()) if rois is not None else 0
        reports.append(ObjectReport(classes[int(row[4])], row[:4], float(best[number]),
                                    int(((labels > 0) & (owners == number)).sum()), int(own.sum()), kept))
    return reports
