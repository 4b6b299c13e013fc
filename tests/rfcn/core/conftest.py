"""The tiny data set as the loaders see it."""
import pytest

from lib.dataset import make_dataset


@pytest.fixture
def roidb(tiny_voc):
    """Entries of the six training images, anew for each test: wide1, wide2, wide3, high1, high2, empty."""
    return make_dataset('PascalVOC', 'train', '', str(tiny_voc)).gt_roidb()
