"""R-FCN beside Faster R-CNN in one run: the paper's table 3 (0.17 s against 0.42 s per image in testing) as a ratio.

The same trunk, ResNet-101, at 600x1000 with 21 classes and 300 RoIs, in testing from a file to boxes and in training
with OHEM of 300 RoIs. They differ in what is computed per RoI: nothing but pooling and a vote (R-FCN), two fully
connected layers (naive Faster R-CNN), or conv5 and the layers after it (Faster R-CNN).
"""
import tempfile

from experiments.bench import measure, subjects, training
from rfcn.precision.bf16 import has_bf16

RFCN = 'R-FCN, k = 7'
NETWORKS = {RFCN: (),
            'naive Faster R-CNN, RoI output 7x7': ('symbol=resnet_v1_101_naive_rcnn',),
            'Faster R-CNN, conv5 per RoI': ('symbol=resnet_v1_101_faster_rcnn', 'network.CONV5=stride32',
                                            'network.POOLED_SIZE=14')}
DEPTH, OHEM_300 = 101, 'TRAIN.BATCH_ROIS_OHEM=300'


def run(short):
    """Rows of the table: network and precision, seconds per image in testing and per step of training."""
    precisions = [subjects.FP32] + [subjects.BF16] * (has_bf16() and not short)
    rounds = 3 if short else 9
    with tempfile.TemporaryDirectory() as folder:
        roidb = subjects.write_images(folder, 2)
        testing = seconds_of(lambda name, precision: subjects.Detection(
            DEPTH, roidb, precisions=[precision], overrides=NETWORKS[name]), lambda one, precision: one.run(precision),
            precisions, rounds)
        steps = seconds_of(lambda name, precision: training.Training(
            DEPTH, precision, roidb, overrides=NETWORKS[name] + (OHEM_300,)), lambda one, precision: one.steps(1),
            precisions, rounds)
    return [{'network': name, 'precision': precision,
             'testing, s per image': testing[name, precision],
             'testing of R-FCN': testing[name, precision] / testing[RFCN, precision],
             'training, s per step': steps[name, precision],
             'training of R-FCN': steps[name, precision] / steps[RFCN, precision]}
            for precision in precisions for name in NETWORKS]


def seconds_of(make, call, precisions, rounds):
    """(network, precision) -> median seconds of a call; the networks of a precision are made, and take turns."""
    seconds = {}
    for precision in precisions:
        made = {name: make(name, precision) for name in NETWORKS}
        functions = {name: lambda one=one: call(one, precision) for name, one in made.items()}
        seconds.update({(name, precision): parts['total']
                        for name, parts in measure.in_turn(functions, rounds, warm_up=2).items()})
    return seconds
