"""Writes vectors in a checkout of the original, with its own code. Copy this one file there and run it:

    cd Deformable-ConvNets/rfcn
    python recorder.py --out DIR [--only boxes nms net] [--cfg ../experiments/rfcn/cfgs/X.yaml] [--gpu 0]

Python 2 and 3, NumPy; `net` needs MXNet and the original's operators as well. DIR is then compared with this project:

    rfcn compare --vectors DIR

It follows FORMAT.md, and calls these parts of the original by their own names: lib/bbox/bbox_transform.py
(bbox_overlaps, nonlinear_transform, nonlinear_pred, clip_boxes), lib/nms/nms.py (nms, soft_nms if there is one),
lib/nms/cpu_nms (cpu_nms), lib/rpn/generate_anchor.py (generate_anchors), rfcn/config/config.py (config,
update_config), rfcn/symbols (a module and a class of the name that the configuration gives). What a checkout does not
have is left out and said.
"""
from __future__ import division, print_function

import argparse
import json
import os
import sys
import zlib

import numpy as np

MEANS = (103.06, 115.90, 123.15)    # blue, green, red
SALT, HEIGHT, WIDTH, POST, OHEM = 17, 160, 224, 40, 16
FEATURES = ('res2c', 'res5c', 'rfcn_bbox')
CHANNELS = 8
THRESHOLDS = ('0.30', '0.50', '0.70')


def save(folder, name, arrays, record=None):
    """Write NAME.npz and, if there is a record, NAME.json."""
    np.savez_compressed(os.path.join(folder, name + '.npz'), **arrays)
    if record is not None:
        with open(os.path.join(folder, name + '.json'), 'w') as file:
            json.dump(record, file, sort_keys=True)


def random_boxes(rng, count, side=600.0):
    """(count, 4) float64 boxes of several sizes."""
    corners = rng.uniform(0, side, (count, 2))
    return np.hstack((corners, corners + rng.uniform(4, side / 2, (count, 2))))


def record_anchors(folder):
    """anchors: the base anchors of two configurations."""
    from rpn.generate_anchor import generate_anchors
    cases = [dict(base_size=16, ratios=[0.5, 1, 2], scales=[8, 16, 32]),
             dict(base_size=16, ratios=[0.5, 1, 2], scales=[4, 8, 16, 32])]
    arrays = {'anchors_%d' % i: generate_anchors(base_size=case['base_size'], ratios=list(case['ratios']),
                                                 scales=np.array(case['scales'], dtype=np.float32))
              for i, case in enumerate(cases)}
    save(folder, 'anchors', arrays, cases)


def record_boxes(folder):
    """boxes: overlaps, encoding, decoding, clipping."""
    from bbox import bbox_transform as box
    rng = np.random.RandomState(SALT)
    a, q, gt = (random_boxes(rng, count) for count in (80, 30, 80))
    deltas = rng.normal(0, 0.3, (80, 8)).astype(np.float32)
    shape = (500, 550)
    pred = box.nonlinear_pred(a.astype(np.float32), deltas)
    save(folder, 'boxes', dict(
        a=a, q=q, gt=gt, overlaps=box.bbox_overlaps(a, q), transform=box.nonlinear_transform(a, gt),
        transform_f32=box.nonlinear_transform(a.astype(np.float32), gt.astype(np.float32)), deltas_2=deltas,
        pred_2=pred, im_shape=np.array(shape), clip_2=box.clip_boxes(np.array(pred), shape),
        pred_empty=box.nonlinear_pred(np.zeros((0, 4)), np.zeros((0, 8)))))


def record_nms(folder):
    """nms: which boxes each rule keeps."""
    from nms import nms as rules
    rng = np.random.RandomState(SALT)
    arrays = {}
    for i, count in enumerate((1, 60, 400)):
        scores = (rng.permutation(count) + 0.5) / count     # all different
        dets = np.hstack((random_boxes(rng, count), scores[:, None])).astype(np.float32)
        arrays['dets_%d' % i] = dets
        for text in THRESHOLDS:
            arrays['py_%d_%s' % (i, text)] = np.array(rules.nms(dets, float(text)), dtype=np.int64)
            arrays['py64_%d_%s' % (i, text)] = np.array(rules.nms(dets.astype(np.float64), float(text)), dtype=np.int64)
        for text in THRESHOLDS:
            try:
                from nms.cpu_nms import cpu_nms
                arrays['cpu_%d_%s' % (i, text)] = np.array(cpu_nms(dets, float(text)), dtype=np.int64)
            except (ImportError, ValueError) as error:     # not compiled, or one of its own integers does not fit
                print('nms: the Cython rule is left out: %s' % error)
                break
        if hasattr(rules, 'soft_nms'):
            arrays['softnms_%d' % i] = rules.soft_nms(dets.copy(), 0.6, -1)
    save(folder, 'nms', arrays)


def picture(height, width):
    """Coloured rectangles on a gradient, (height, width, 3) uint8: drawn, so that nobody's photograph is needed."""
    rows, columns = np.mgrid[:height, :width]
    image = np.stack([rows * 200.0 / height, columns * 200.0 / width, 40.0 + (rows + columns) % 64], axis=2)
    for x1, y1, x2, y2, colour in ((20, 30, 110, 130, (30, 60, 220)), (120, 20, 200, 90, (210, 160, 40)),
                                   (90, 70, 150, 150, (60, 200, 90))):
        image[y1:y2 + 1, x1:x2 + 1] = colour
    return image.astype(np.uint8), np.array([[20, 30, 110, 130, 3], [120, 20, 200, 90, 8], [90, 70, 150, 150, 12]],
                                            dtype=np.float32)


def parameter(name, shape):
    """The parameter of that name: FORMAT.md, "The parameters"."""
    normal = np.random.RandomState((zlib.crc32(name.encode('ascii')) ^ SALT) & 0xffffffff).standard_normal(shape)
    if name.endswith('_weight'):
        layer = name[:-len('_weight')]
        gain = {'rpn_cls_score': 0.3, 'rfcn_bbox': 0.3, 'rpn_bbox_pred': 0.07, 'rfcn_cls': 1.5}.get(layer, 1.0)
        if layer.startswith('res5') and layer.endswith('_offset'):
            gain = 0.3
        elif layer.endswith('_offset_t'):
            gain = 3.0
        value = normal * np.sqrt(2.0 / np.prod(shape[1:])) * gain
    elif name.endswith('_bias'):
        value = 0.05 * normal
    elif name.endswith('_gamma'):
        value = (1 + 0.2 * normal) * (0.2 if 'branch2c' in name else 1.0)
    elif name.endswith('_beta'):
        value = 0.1 * normal
    elif name.endswith('_moving_mean'):
        value = (10 if name == 'bn_conv1_moving_mean' else 0.1) * normal
    else:
        value = np.exp(0.2 * normal) * (10000 if name == 'bn_conv1_moving_var' else 1)
    return value.astype(np.float32)


def outputs_of(executor, symbol):
    """Name without '_output' and '_reshape' -> array."""
    return {name.replace('_output', '').replace('_reshape', ''): value.asnumpy()
            for name, value in zip(symbol.list_outputs(), executor.outputs)}


def bound(symbol, inputs, context, trained=()):
    """An executor with the parameters of FORMAT.md and the given inputs."""
    requests = {name: 'write' if name in trained else 'null' for name in symbol.list_arguments()}
    shapes = {name: value.shape for name, value in inputs.items() if name in symbol.list_arguments()}
    executor = symbol.simple_bind(context, grad_req=requests, **shapes)
    for name, array in list(executor.arg_dict.items()) + list(executor.aux_dict.items()):
        array[:] = inputs[name] if name in inputs else parameter(name, array.shape)
    return executor


def tensor(image):
    """(1, 3, H, W) float32, RGB less the means."""
    planes = [image[:, :, 2 - i].astype(np.float64) - MEANS[2 - i] for i in range(3)]
    return np.stack(planes)[None].astype(np.float32)


def record_network(folder, cfg_path, gpu):
    """net_recorded: the test graph, three feature maps, and one training step with OHEM."""
    import mxnet as mx
    from config.config import config, update_config
    update_config(cfg_path)
    context = mx.cpu() if gpu is None else mx.gpu(gpu)
    symbols = __import__('symbols.' + config.symbol, fromlist=[config.symbol])
    image, objects = picture(HEIGHT, WIDTH)
    inputs = {'data': tensor(image), 'im_info': np.array([[HEIGHT, WIDTH, 1]], dtype=np.float32)}
    arrays = dict(image_bgr_uint8=image, im_info=inputs['im_info'], gt_boxes=objects)
    record = dict(config=os.path.basename(cfg_path), salt=SALT, H=HEIGHT, W=WIDTH, POST=POST, OHEM=OHEM)

    config.TEST.CXX_PROPOSAL, config.TEST.RPN_POST_NMS_TOP_N = False, POST
    test = getattr(symbols, config.symbol)().get_symbol(config, is_train=False)
    internals = test.get_internals()
    blobs = {}
    for name in FEATURES:
        relu = name + '_relu_output'
        blobs[name] = relu if relu in internals.list_outputs() else name + '_output'
    group = mx.sym.Group(list(test) + [internals[blob] for blob in blobs.values()])
    executor = bound(group, inputs, context)
    np.random.seed(SALT + 1)
    executor.forward(is_train=False)
    found = dict(zip(group.list_outputs(), [value.asnumpy() for value in executor.outputs]))
    for name, value in outputs_of(executor, group).items():
        if name in ('rois', 'cls_prob', 'bbox_pred'):
            arrays['test_py_' + name] = value
    for name, blob in blobs.items():
        values = found[blob]
        arrays['feat_%s_first%dch' % (name, CHANNELS)] = values[0, :CHANNELS]
        exact = values.astype(np.float64)
        record['feat_' + name] = dict(shape=list(values.shape), mean=float(exact.mean()), std=float(exact.std()),
                                      l2=float(np.linalg.norm(exact)))
    record.update(training_step(symbols, config, context, inputs, objects, arrays))
    save(folder, 'net_recorded', arrays, record)


def training_step(symbols, config, context, inputs, objects, arrays):
    """Adds to `arrays` what one training step gave. Returns the keys fixed_params_e2e and train."""
    from rpn.rpn import assign_anchor
    config.TRAIN.BATCH_ROIS_OHEM, config.TRAIN.RPN_POST_NMS_TOP_N = OHEM, POST
    symbol = getattr(symbols, config.symbol)().get_symbol(config, is_train=True)
    scores = symbol.get_internals()['rpn_cls_score_output']
    _, shapes, _ = scores.infer_shape(data=inputs['data'].shape)
    np.random.seed(SALT + 2)
    targets = assign_anchor(shapes[0], objects, inputs['im_info'], config, config.network.RPN_FEAT_STRIDE,
                            config.network.ANCHOR_SCALES, config.network.ANCHOR_RATIOS)
    targets = {name: np.asarray(targets[name], dtype=np.float32) for name in ('label', 'bbox_target', 'bbox_weight')}
    arrays.update(('rpn_' + name, value) for name, value in targets.items())
    known = dict(inputs, gt_boxes=objects[None], **targets)
    fixed = [name for name in symbol.list_arguments() if any(part in name for part in config.network.FIXED_PARAMS)]
    trained = [name for name in symbol.list_arguments() if name not in fixed and name not in known]
    executor = bound(symbol, known, context, trained)
    np.random.seed(SALT + 3)
    executor.forward(is_train=True)
    executor.backward()
    outputs = outputs_of(executor, symbol)
    after = int(np.random.randint(1 << 30))
    for name in ('rpn_cls_prob', 'rpn_bbox_loss', 'cls_prob', 'bbox_loss', 'rcnn_label'):
        arrays['e2e_recorded_' + name] = outputs[name]
    norms = {name: float(np.linalg.norm(executor.grad_dict[name].asnumpy().astype(np.float64))) for name in trained}
    step = dict(overrides=dict(BATCH_ROIS_OHEM=OHEM, RPN_POST_NMS_TOP_N=POST), npr_seed_before_forward=SALT + 3,
                npr_randint_2p30_after=after, grad_l2=norms, n_fg=int(np.sum(outputs['rcnn_label'] > 0)),
                n_kept=int(np.sum(outputs['rcnn_label'] != -1)))
    return dict(fixed_params_e2e=len([name for name in fixed if name not in known]), train={'e2e_recorded': step})


def main(argv=None):
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--out', required=True, help='folder to write to')
    parser.add_argument('--only', nargs='+', default=['anchors', 'boxes', 'nms', 'net'], help='some of the vectors')
    parser.add_argument('--cfg', default='../experiments/rfcn/cfgs/resnet_v1_101_voc0712_rfcn_end2end_ohem.yaml')
    parser.add_argument('--gpu', type=int, help='default: the CPU')
    args = parser.parse_args(argv)
    sys.path[:0] = [os.getcwd(), os.path.join(os.getcwd(), '..', 'lib')]
    if not os.path.isdir(args.out):
        os.makedirs(args.out)
    recorders = {'anchors': record_anchors, 'boxes': record_boxes, 'nms': record_nms,
                 'net': lambda folder: record_network(folder, args.cfg, args.gpu)}
    for name in args.only:
        recorders[name](args.out)
        print('recorded', name)


if __name__ == '__main__':
    main()
