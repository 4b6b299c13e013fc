"""Class names that are known without the data."""
import pytest

from lib.dataset.published import published_classes


@pytest.mark.parametrize('dataset, image_sets, count, first, last', [
    ('PascalVOC', '2007_trainval', 20, 'aeroplane', 'tvmonitor'),
    ('PascalVOC', '2007_trainval+2012_trainval', 20, 'aeroplane', 'tvmonitor'),
    ('coco', 'train2014+valminusminival2014', 80, 'person', 'toothbrush'),
    ('coco', 'test-dev2015', 80, 'person', 'toothbrush'),
])
def test_published_sets_have_their_names(dataset, image_sets, count, first, last):
    names = published_classes(dataset, image_sets)
    assert (len(names), len(set(names)), names[0], names[-1]) == (count, count, first, last)


@pytest.mark.parametrize('dataset, image_sets', [('PascalVOC', 'train'), ('PascalVOC', '2007_trainval+mine'),
                                                 ('coco', 'train'), ('csv', '2007_trainval'), ('yolo', 'train2017')])
def test_own_sets_have_none(dataset, image_sets):
    assert published_classes(dataset, image_sets) == ()
