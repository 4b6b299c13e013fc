"""A ResNet-50 with random blobs, run by OpenCV as Caffe would run it, against the trunk that it is imported into."""
import cv2
import numpy as np
import pytest

from lib.errors import CheckpointError
from rfcn.importers.caffe_file import load_caffe
from rfcn.importers.fold import RELEASE_MEANS
from rfcn.importers.naming import trunk_layers
from rfcn.importers.sources import from_caffe
from tests.rfcn.importers.caffe_net import encode, resnet50


@pytest.fixture(scope='module')
def caffe(tmp_path_factory, picture):
    """Path of a .caffemodel, and its conv5 of the picture."""
    net = resnet50(*picture.shape[2:])
    path = tmp_path_factory.mktemp('caffe') / 'ResNet-50-model.caffemodel'
    path.write_bytes(net.model)
    opencv = cv2.dnn.readNetFromCaffe(np.frombuffer('\n'.join(net.text).encode(), np.uint8),
                                      np.frombuffer(net.model, np.uint8))
    blue_green_red = (picture - np.reshape(RELEASE_MEANS, (1, 3, 1, 1)))[:, ::-1]
    opencv.setInput(np.ascontiguousarray(blue_green_red, dtype=np.float32))
    return str(path), opencv.forward()


def test_conv5_of_a_caffe_model_is_kept(caffe, picture, trunk_features):
    path, expected = caffe
    source = from_caffe(path)
    assert (source.depth, source.left_out, source.pool1, source.stride_in_3x3) == (50, [], 'ceil', False)
    found = trunk_features(source, picture, RELEASE_MEANS)
    assert found.shape == expected.shape and expected.std() > 0.1
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_statistics_are_divided_by_their_factor_and_conv1_may_have_a_bias(caffe):
    params = load_caffe(caffe[0])
    assert 0.5 <= params['bn_conv1_moving_var'].min() and params['bn_conv1_moving_var'].max() <= 2
    assert params['conv1_bias'].shape == (64,) and 'res2a_branch1_bias' not in params
    assert len([name for name in params if name.endswith('_weight')]) == len(trunk_layers(50))


def test_a_file_that_is_no_caffe_model_is_refused(tmp_path):
    (tmp_path / 'a.caffemodel').write_bytes(b'<html>not found</html>')
    with pytest.raises(CheckpointError, match='a.caffemodel: found no ResNet-v1 .* among its 0 parameters'):
        from_caffe(str(tmp_path / 'a.caffemodel'))


@pytest.mark.parametrize('statistics, message', [
    ([], 'not a Caffe model of convolutions, BatchNorm and Scale that OpenCV can read'),
    ([np.zeros(64), np.ones(64)], 'conv1 expected with three blobs of BatchNorm and two of Scale, found 2 and 0')])
def test_a_convolution_without_batch_norm_or_scale_is_refused(tmp_path, statistics, message):
    (tmp_path / 'a.caffemodel').write_bytes(encode('conv1', 'Convolution', [np.zeros((64, 3, 7, 7))])
                                            + encode('bn_conv1', 'BatchNorm', statistics))
    with pytest.raises(CheckpointError, match=message):
        load_caffe(str(tmp_path / 'a.caffemodel'))
