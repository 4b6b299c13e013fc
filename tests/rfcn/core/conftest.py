"""The tiny data set as the loaders see it, and trainings on it."""
import numpy as np
import pytest

from lib.dataset import make_dataset
from rfcn.core.target_loaders import AnchorLoader
from rfcn.train_end2end import train_net
from tests.rfcn.conftest import checkpoint_arrays

MEANS = np.array([103.0, 116.0, 123.0])
ANCHORS = dict(base_size=16, ratios=(0.5, 1, 2), scales=(1, 2, 4))
SCHEDULE = ['TRAIN.lr_step=[1.4]', 'TRAIN.warmup=true', 'TRAIN.warmup_lr=0.001', 'TRAIN.warmup_step=2',
            'default.frequent=1']


@pytest.fixture
def roidb(tiny_voc):
    """Entries of the six training images, anew for each test: wide1, wide2, wide3, high1, high2, empty."""
    return make_dataset('PascalVOC', 'train', str(tiny_voc)).gt_roidb()


def cells(height, width):
    return -(-height // 16), -(-width // 16)


def loader_of(roidb, batch_size=2, **settings):
    options = dict(scales=((64, 96),), pixel_means=MEANS, feature_shape=cells, anchors=ANCHORS, shuffle=True,
                   aspect_grouping=True, targets=dict(batch_size=32))
    return AnchorLoader(roidb, batch_size, **dict(options, **settings))


def names(batches):
    """Names of the images of each batch."""
    return [[path.rpartition('/')[2].partition('.')[0] for path in batch.images] for batch in batches]


@pytest.fixture
def train(tiny_cfg, tmp_path):
    """A function (name of a folder, KEY=VALUE, ...) that trains into that folder -> prefix of its checkpoints."""
    def run(folder, *overrides):
        (tmp_path / folder).mkdir(exist_ok=True)
        return train_net(tiny_cfg(*overrides), tmp_path / folder)
    return run


def assert_same_checkpoint(one, other, epoch):
    (arrays, progress), (others, progress_of_other) = (checkpoint_arrays(prefix, epoch) for prefix in (one, other))
    assert progress == progress_of_other and set(arrays) == set(others)
    assert [name for name in arrays if not np.array_equal(arrays[name], others[name])] == []
