"""An alternating training on the tiny data set."""
import shutil
from pathlib import Path

import numpy as np
import pytest

from rfcn import data_sets, train_alternate
from rfcn.checkpoints import checkpoint
from rfcn.config.config import load_config

EXPERIMENTS = Path(__file__).resolve().parents[3] / 'experiments'
SHARED = ('conv1', 'bn_conv1', 'res2', 'bn2', 'res3', 'bn3', 'res4', 'bn4')
NAME = 'voc_train'  # of the tiny data set's training images
STEPS = {'rpn1': 8, 'rfcn1': 32, 'rpn2': 16, 'rfcn2': 20}  # epochs of three updates
OVERRIDES = ['SCALES=[64, 96]', 'network.ANCHOR_SCALES=[1, 2, 4]', 'network.CONV_NEW_CHANNELS=16',
             'network.RPN_CHANNELS=16', 'network.SMALL_CHANNELS=[4, 8, 8, 16]', 'network.SMALL_BLOCKS=1',
             'dataset.val_image_set=val', 'TRAIN.BATCH_IMAGES=2', 'TRAIN.BATCH_ROIS_OHEM=8', 'TRAIN.RPN_BATCH_SIZE=32',
             'TRAIN.CHECKPOINT_PERIOD=4', 'TRAIN.FLIP=false', 'TRAIN.warmup=false', 'default.frequent=1',
             'TEST.BATCH_IMAGES=2', 'TEST.RPN_POST_NMS_TOP_N=6', 'TEST.PROPOSAL_POST_NMS_TOP_N=40',
             *['TRAIN.ALTERNATE.%s_%s' % (step, value) for step, epochs in STEPS.items()
               for value in ('epoch=%d' % epochs, 'lr=0.02', 'lr_step=')],
             'TRAIN.ALTERNATE.rfcn1_lr_step=27.5']


def config_of(tiny_voc, *overrides):
    paths = ['dataset.dataset_path=%s' % tiny_voc, 'dataset.root_path=%s' % tiny_voc]
    path = EXPERIMENTS / 'demo' / 'demo_alternate.yaml'
    return data_sets.with_classes(load_config(str(path), OVERRIDES + paths + list(overrides)))


def params_of(folder, step, epoch=None, **how):
    epoch = STEPS[step] if epoch is None else epoch
    return checkpoint.load_params(checkpoint.params_path(str(folder / step), epoch), **how)


def is_shared(name):
    return any(fragment in name for fragment in SHARED)


def assert_equal(left, right, names):
    names = list(names)
    assert names
    for name in names:
        np.testing.assert_array_equal(left[name].asnumpy(), right[name].asnumpy(), err_msg=name)


@pytest.fixture(scope='package')
def trained(tiny_voc, tmp_path_factory):
    """Configuration and folder of a finished run. Not to be changed."""
    cfg, folder = config_of(tiny_voc), tmp_path_factory.mktemp('alternate')
    assert train_alternate.train_alternate(cfg, folder) == str(folder / 'final-0000.params')
    return cfg, folder


@pytest.fixture
def copied(trained, tmp_path):
    """The same for one test alone."""
    cfg, folder = trained
    return cfg, Path(shutil.copytree(str(folder), str(tmp_path / 'run')))
