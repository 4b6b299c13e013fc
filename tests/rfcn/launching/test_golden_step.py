"""Steps of a golden network: one process with two images, two devices and two workers with one image each."""
import mxnet as mx
import numpy as np
import pytest

from tests.rfcn.launching import golden_step
from tests.rfcn.launching.conftest import by_environment

NAME = 'net_voc1'
STEPS = 20


def of_two_workers(folders, out):
    """What two workers compute."""
    by_environment(2, golden_step.__file__, *folders, NAME, STEPS, out)
    return dict(np.load(str(out)))


def assert_same(found, expected, scale=1):
    """Gradients to 1e-5 of their norm, all metrics of all steps to 1e-4."""
    assert set(found) == set(expected) and len(expected) > 50
    assert found['losses'].shape == (STEPS, 6)
    assert np.abs(found['losses'] - expected['losses']).max() <= 1e-4
    for name in set(found) - {'losses'}:
        assert np.linalg.norm(scale * found[name] - expected[name]) <= 1e-5 * np.linalg.norm(expected[name]), name


@pytest.mark.slow
def test_training_does_not_depend_on_how_the_images_of_a_step_are_shared_out(golden, pictures, tmp_path):
    network = golden_step.read_network(golden, pictures, NAME)
    images = golden_step.two_images(network)
    devices = golden_step.train_steps(network, images, [mx.cpu(0), mx.cpu(1)], STEPS)
    assert devices['losses'][-1, 1] < devices['losses'][0, 1]      # it learns
    both = tuple({name: np.concatenate([image[part][name] for image in images]) for name in images[0][part]}
                 for part in (0, 1))
    # The loss of a device is the mean over its images, gradients of devices and workers are added up: twice the rate.
    assert_same(golden_step.train_steps(network, [both], [mx.cpu()], STEPS, scale=2), devices, scale=2)
    assert_same(of_two_workers((golden, pictures), tmp_path / 'found.npz'), devices)
