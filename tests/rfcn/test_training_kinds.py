"""Every kind of training lowers its losses, on the tiny data set in a few seconds."""
import os

import mxnet as mx
import numpy as np
import pytest

from lib.errors import ConfigError
from rfcn.train_end2end import train_net
from tests.rfcn.conftest import log_lines

LOSSES = ('RPNLogLoss', 'RPNL1Loss', 'RCNNLogLoss', 'RCNNL1Loss')
TWO_CPUS = [mx.cpu(0), mx.cpu(1)]

# What a kind changes of the tiny configuration, which has OHEM, class-agnostic boxes, k = 3 and two images a device.
KINDS = {
    'end to end with OHEM, k = 3': (),
    'k = 7': ('network.POOLED_SIZE=7',),
    'k = 1': ('network.POOLED_SIZE=1',),
    'deformable': ('symbol=small_rfcn_dcn',),
    'class-specific boxes': ('CLASS_AGNOSTIC=false',),
    'without OHEM': ('TRAIN.ENABLE_OHEM=false', 'TRAIN.BATCH_ROIS=64'),
    'one image a device': ('TRAIN.BATCH_IMAGES=1',),
    'three images a device': ('TRAIN.BATCH_IMAGES=3',),
    "MXNet's proposal operator": ('TRAIN.CXX_PROPOSAL=true',),
    'gradients of two batches added up': ('TRAIN.GRAD_ACCUM=2',),
}


def assert_that_losses_fall(cfg, folder, devices=None):
    """Train, and compare the mean sum of the losses of the last six steps with that of the first three."""
    losses = [sum(line[name] for name in LOSSES) for line in log_lines(train_net(cfg, folder, devices))]
    assert len(losses) > 18 and np.mean(losses[-6:]) < 0.8 * np.mean(losses[:3]), losses


@pytest.fixture
def few_steps(tiny_cfg):
    """A function (KEY=VALUE, ...) -> configuration of a training of some sixty steps that logs each of them."""
    return lambda *overrides: tiny_cfg('TRAIN.end_epoch=20', 'TRAIN.CHECKPOINT_PERIOD=20', 'default.frequent=1',
                                       'TRAIN.lr=0.02', *overrides)


@pytest.mark.parametrize('kind', KINDS)
def test_training_lowers_the_losses(kind, few_steps, tmp_path):
    assert_that_losses_fall(few_steps(*KINDS[kind]), tmp_path)


def test_training_on_two_devices_lowers_the_losses(few_steps, tmp_path):
    assert_that_losses_fall(few_steps('TRAIN.BATCH_IMAGES=1'), tmp_path, TWO_CPUS)


def test_a_folder_that_mxnet_cannot_write_into_is_found_out_before_anything_is_trained(few_steps, tmp_path):
    folder = tmp_path / os.fsdecode(b'\xff')
    folder.mkdir()
    with pytest.raises(UnicodeEncodeError):
        train_net(few_steps(), str(folder))
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize('setting, said', [
    ('TRAIN.end_epoch=0', 'TRAIN.end_epoch is 0, so nothing would be trained'),
    ('TRAIN.begin_epoch=1', 'TRAIN.begin_epoch is 1, but a new training begins at 0: write TRAIN.RESUME=true'),
    ('TRAIN.model_prefix=', 'TRAIN.model_prefix is empty'),
])
def test_settings_that_no_training_can_have_are_refused_before_anything_is_written(setting, said, tiny_cfg, tmp_path):
    with pytest.raises(ConfigError, match=said):
        train_net(tiny_cfg(setting), tmp_path / 'run')
    assert list(tmp_path.glob('run*')) == []


def test_a_rate_of_0_is_warned_of(tiny_cfg, tmp_path, caplog):
    train_net(tiny_cfg('TRAIN.lr=0'), tmp_path)
    assert 'TRAIN.lr is 0: no weight will change' in caplog.messages
