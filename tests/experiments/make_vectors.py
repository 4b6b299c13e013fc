"""Writes tests/vectors/own, an example of the format: `python tests/experiments/make_vectors.py`.

The tests compare with it, also where the original's numbers are absent. The numbers of single functions follow from the
rules by hand; the arithmetic stands beside them. Those of the network are what this project computed when it had been
compared with the original.
"""
import json
import sys
from pathlib import Path

if __package__ in (None, ''):
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import cv2
import mxnet as mx
import numpy as np

from experiments.compare.graphs import build_graph
from experiments.compare.network_training import anchor_targets, gradients, start_module, step_inputs
from experiments.compare.networks import SEED_TEST, Network
from experiments.compare.vectors import Vector

FOLDER = Path(__file__).resolve().parents[1] / 'vectors' / 'own'
SALT, SIDE, PROPOSALS = 5, 144, 20


def save(name, record=None, **arrays):
    """Write a vector."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    if record is not None:
        (FOLDER / (name + '.json')).write_text(json.dumps(record, sort_keys=True) + '\n')
    if arrays:
        np.savez_compressed(str(FOLDER / (name + '.npz')), **arrays)


def draw_after(seed, use=lambda rng: None):
    """The number that a generator gives after `use` has drawn from it."""
    rng = np.random.RandomState(seed)
    use(rng)
    return int(rng.randint(1 << 30))


def make_anchors():
    # A square of 2 * 16 = 32 pixels around (7.5, 7.5): 7.5 -+ 15.5.
    save('anchors', [{'base_size': 16, 'ratios': [1.0], 'scales': [2.0]}], anchors_0=[[-8.0, -8.0, 23.0, 23.0]])


def make_boxes():
    a = np.array([[0, 0, 9, 9], [10, 10, 19, 19]], dtype=float)
    # The wanted box of the first is 20 high, its centre 5 below: dy = 5 / 10, dh = log(20 / 10).
    gt = np.array([[0, 0, 9, 19], [10, 10, 19, 19]], dtype=float)
    transform = np.array([[0, 0.5, 0, np.log(2)], [0, 0, 0, 0]])
    # dx = 1 is a move by the width, 10. dw = 5 makes a box e^5 = 148 times as wide: the release believes it, we do not.
    deltas = np.array([[1, 0, 0, 0], [0, 0, 5, 0]], dtype=np.float32)
    half = (np.exp(5.0) * 10 - 1) / 2
    pred = np.array([[10, 0, 19, 9], [14.5 - half, 10, 14.5 + half, 19]])
    # (0..9) x (0..9) and (5..14) x (0..9) share 50 of 150 pixels.
    save('boxes', a=a, gt=gt, transform=transform, transform_f32=transform.astype(np.float32), deltas_2=deltas,
         pred_2=pred, clip_2=[[10, 0, 19, 9], [0, 10, 29, 19]], im_shape=[20, 30], pred_empty=np.zeros((0, 8)),
         q=np.array([[5, 0, 14, 9]], dtype=float), overlaps=[[50 / 150], [0.0]])


def make_nms():
    # The second box is one half of the first: their IoU is exactly 0.5.
    dets = np.array([[0, 0, 19, 19, 0.9], [0, 0, 19, 9, 0.8], [50, 50, 59, 59, 0.7]], dtype=np.float32)
    soft = dets[[0, 2, 1]]
    soft[2, 4] *= np.exp(-0.5 ** 2 / 0.6)
    save('nms', **{'dets_tie': dets, 'cpu_tie_0.50': [0, 2], 'py_tie_0.50': [0, 1, 2], 'py64_tie_0.40': [0, 2],
                   'softnms_tie': soft, 'softnms_tie_max1': dets[:1]})


def make_assign_anchor():
    """Four anchors of 16 pixels on a map of 2 x 2 cells, and an object whose first pixel is (c, c).

    Seen from the anchor of cell (x, y) it lies (c / 16 - x, c / 16 - y) widths away; its sides are the anchor's.
    """
    cases, arrays = [], {}
    # The object is the first anchor. Or no anchor touches it: then the release takes all four for positive.
    for i, (corner, label) in enumerate(((0, [1, 0, 0, 0]), (40, [1, 1, 1, 1]))):
        x, y = np.meshgrid([0, 1], [0, 1])
        target = np.stack([corner / 16 - x, corner / 16 - y, 0 * x, 0 * y])[None].astype(np.float32)
        weight = np.tile(np.reshape(label, (1, 1, 2, 2)), (1, 4, 1, 1))
        places = np.flatnonzero(weight)
        numbers = {
            'gt': [[corner, corner, corner + 15, corner + 15, 1]], 'im_info': [[32, 32, 1]], 'label': np.int8([label]),
            'bbox_target': target, 'bbox_target_sum': target.sum(dtype=float), 'bbox_weight_sum': float(weight.sum()),
            'bbox_target_abs_sum': np.abs(target).sum(dtype=float), 'bbox_weight_nonzero': places,
            'bbox_weight_values': np.ones(len(places)), 'bbox_target_at_nonzero': target.ravel()[places]}
        arrays.update(('%s_%d' % (name, i), np.array(value)) for name, value in numbers.items())
        cases.append(dict(feat_shape=[1, 2, 2, 2], feat_stride=16, scales=[1], ratios=[1.0], allowed_border=0,
                          overrides={}, seed=7, npr_randint_2p30_after=draw_after(7),
                          n_fg=sum(label), n_bg=4 - sum(label), n_ignore=0,
                          shapes=dict(label=[1, 4], bbox_target=[1, 4, 2, 2], bbox_weight=[1, 4, 2, 2])))
    save('assign_anchor', cases, **arrays)


def make_sample_rois():
    """One RoI, and three wanted: it is repeated twice. The release labels the copies background."""
    roi = np.array([[0, 10, 10, 19, 19]], dtype=np.float32)
    targets, weights = np.zeros((2, 3, 8), dtype=np.float32)
    targets[0, 4:] = [0.5 / 0.1, 0, 0, 0]  # the object lies 5 of the RoI's 10 pixels to the right, over BBOX_STDS
    weights[0, 4:] = 1
    # IoU of the two: 5 * 10 of 150 pixels, enough with FG_THRESH 0.3
    case = dict(fg_rois_per_image=3, rois_per_image=3, num_classes=2, CLASS_AGNOSTIC=True, BATCH_ROIS=3, seed=3, n=1,
                FG_THRESH=0.3, BG_THRESH_HI=0.3, BG_THRESH_LO=0.0, BBOX_WEIGHTS=[1.0] * 4, BBOX_MEANS=[0.0] * 4,
                BBOX_STDS=[0.1, 0.1, 0.2, 0.2], BBOX_NORMALIZATION_PRECOMPUTED=True, n_fg_label=1,
                shapes=[[3, 5], [3], [3, 8], [3, 8]], dtypes=['float32'] * 4,
                npr_randint_2p30_after=draw_after(3, lambda rng: [rng.choice(1, 1, replace=False) for _ in range(2)]))
    save('sample_rois', [case], rois_0=roi, gt_0=np.array([[15, 10, 24, 19, 1]], dtype=np.float32),
         out_rois_0=np.repeat(roi, 3, axis=0), out_labels_0=np.array([1, 0, 0], dtype=np.float32),
         out_bbox_targets_0=targets, out_bbox_weights_0=weights)


def make_lr():
    # Warm-up for updates 1 and 2, the rate for 3 to 5 (it drops after step 5), a tenth from then on.
    schedule = dict(base_lr=0.1, step=[5], factor=0.1, warmup=True, warmup_lr=0.01, warmup_step=3,
                    lr_of_update_1_to_6=[0.01, 0.01, 0.1, 0.1, 0.1, 0.01])
    # 100 images in batches of 2 are 50 updates an epoch. Resumed at epoch 2, 1.5 epochs are left to the second step.
    resumed = dict(lr=0.1, lr_step='1,3.5', lr_factor=0.1, len_roidb=100, batch_size=2, begin_epoch=2, lr_iters=[75],
                   start_lr=0.01)
    save('lr', dict(schedules=[schedule], epoch_conversion=[resumed]))


def make_network():
    """ResNet-101 R-FCN on a picture of two rectangles, by our own code."""
    picture = np.full((SIDE, SIDE, 3), 120, dtype=np.uint8)
    cv2.rectangle(picture, (10, 5), (135, 130), (40, 90, 200), -1)
    cv2.rectangle(picture, (60, 60), (100, 140), (200, 160, 30), -1)
    record = dict(config='resnet_v1_101_voc0712_rfcn_end2end_ohem.yaml', salt=SALT, H=SIDE, W=SIDE, POST=PROPOSALS,
                  OHEM=8, which='own', image='', min_rpn_score_gap=0)
    arrays = dict(image_bgr_uint8=picture, im_info=np.array([[SIDE, SIDE, 1]], dtype=np.float32),
                  gt_boxes=np.array([[10, 5, 135, 130, 3], [60, 60, 100, 140, 8]], dtype=np.float32))
    save('net_own', record, **arrays)
    network = Network(Vector(FOLDER, 'net_own'))
    arrays.update(('rpn_' + name, blob.astype(np.float32)) for name, blob in anchor_targets(network).items())
    save('net_own', record, **arrays)
    network = Network(Vector(FOLDER, 'net_own'))
    arrays.update(of_test_graph(network, record))
    arrays.update(of_training_step(network, record))
    save('net_own', record, **arrays)


def of_test_graph(network, record):
    """Outputs of the end-to-end test graph, and a feature map."""
    symbol = build_graph(network.config('TEST', RPN_POST_NMS_TOP_N=PROPOSALS), 'e2e', is_train=False)
    group = mx.sym.Group(list(symbol) + [symbol.get_internals()['rfcn_bbox_output']])
    ours = network.predict(group, network.inputs, SEED_TEST)
    maps = ours['rfcn_bbox'].astype(float)
    record['feat_rfcn_bbox'] = dict(shape=maps.shape, mean=maps.mean(), std=maps.std(), l2=np.linalg.norm(maps))
    record['test_py_unique_rois'] = len(np.unique(ours['rois'], axis=0))
    return {'test_py_rois': ours['rois'], 'test_py_cls_prob': ours['cls_prob'], 'test_py_bbox_pred': ours['bbox_pred'],
            'feat_rfcn_bbox_first1ch': ours['rfcn_bbox'][0, :1]}


def of_training_step(network, record):
    """Outputs and gradients of an end-to-end step with OHEM."""
    overrides = dict(BATCH_ROIS_OHEM=8, RPN_POST_NMS_TOP_N=PROPOSALS)
    module = start_module(network, network.config(**overrides), 'e2e')
    np.random.seed(SALT)
    module.forward_backward(network.batch(*step_inputs(network, 'e2e')))
    outputs = {name: value.asnumpy() for name, value in module.named_outputs().items()}
    label = outputs['rcnn_label']
    step = dict(overrides=overrides, npr_seed_before_forward=SALT, npr_randint_2p30_after=np.random.randint(1 << 30),
                n_fg=int(np.sum(label > 0)), n_kept=int(np.sum(label != -1)))
    step['grad_l2'] = {name: float('%.7g' % np.linalg.norm(gradient)) for name, gradient in gradients(module).items()}
    record.update(train={'e2e_ohem': step}, fixed_params_e2e=len(module.fixed_names))
    return {'e2e_ohem_' + name: outputs[name] for name in ('cls_prob', 'bbox_loss', 'rcnn_label')}


def main():
    """Entry point."""
    for make in (make_anchors, make_boxes, make_nms, make_assign_anchor, make_sample_rois, make_lr, make_network):
        make()


if __name__ == '__main__':
    main()
