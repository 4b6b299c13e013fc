"""Training steps of a golden network on two images, shared out as the test says.

    golden_step.py VECTORS PICTURES NAME STEPS OUT     as a worker: each of two takes one image
"""
import sys
from pathlib import Path

import rfcn  # noqa: F401  before MXNet, which would begin to serve by itself

# isort: split
import mxnet as mx
import numpy as np

from experiments.compare.graphs import build_graph
from experiments.compare.network_training import step_inputs
from experiments.compare.networks import Network
from experiments.compare.pictures import Pictures
from experiments.compare.vectors import Vector
from rfcn.cli.script import run_script
from rfcn.core.loader import Batch, DeviceBatches
from rfcn.core.metric import TrainingMetrics, measure
from rfcn.core.module import TrainModule
from rfcn.core.workers import Alone, workers

# With the release's rate these parameters, which are random, leap: then rounding decides which RoIs OHEM keeps.
LR, WD = 0.00001, 0.0005


def read_network(vectors, pictures, name):
    """A network of the golden vectors, whose photograph is in the folder `pictures`."""
    return Network(Vector(Path(vectors), name, Pictures(Path(pictures))))


def two_images(network):
    """The inputs of the vector's image and of its mirror image, for both the same boxes: (data, label) twice."""
    data, label = step_inputs(network, 'e2e')
    return [(data, label), (dict(data, data=np.ascontiguousarray(data['data'][..., ::-1])), label)]


def train_steps(network, parts, devices, steps, group=Alone(), scale=1):
    """Train on the same images again and again.

    Args:
        parts: (data, label) of each device. group: `Workers` or `Alone`.
        scale: of the learning rate; the decay of a step stays what it is.
    Returns:
        name -> gradient of the first step over all devices and workers, and 'losses', (steps, 6): the metrics.
    """
    overrides = network.record['train']['e2e_ohem']['overrides']
    cfg = network.config(**dict(overrides, BATCH_IMAGES=len(parts[0][0]['data'])))
    symbol = build_graph(cfg, 'e2e', is_train=True)
    batches = DeviceBatches([Batch(data, label) for data, label in parts])
    module = TrainModule(symbol, list(parts[0][0]), list(parts[0][1]), devices, fixed=cfg.network.FIXED_PARAMS)
    module.start(batches, *network.parameters(symbol, dict(parts[0][0], **parts[0][1])), kvstore=group.store or 'local',
                 optimizer_params=dict(learning_rate=LR * scale, wd=WD / scale, momentum=0.9))
    losses = []
    for _ in range(steps):
        module.step(batches)
        if not losses:
            found = {name: value.asnumpy() for name, value in module.gradients().items()}
        measured = [measure({'rpn_label': part.label[0]}, module.named_outputs(number))
                    for number, part in enumerate(batches.parts)]
        sums = group.sum(np.sum([list(one.values()) for one in measured], axis=0))
        losses.append(list(TrainingMetrics().add(dict(zip(measured[0], sums))).values()))
    return dict(found, losses=np.array(losses))


def main():
    """A worker: its image is that of its rank. The first one writes what came out."""
    vectors, pictures, name, steps, out = sys.argv[1:]
    group, network = workers(), read_network(vectors, pictures, name)
    found = train_steps(network, [two_images(network)[group.rank]], [mx.cpu()], int(steps), group)
    if group.first:
        np.savez(out, **found)


if __name__ == '__main__':
    run_script(main)
