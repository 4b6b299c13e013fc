"""Complete R-FCNs of the authors: what OpenCV computes of a caffemodel, the imported detector computes."""
import cv2
import mxnet as mx
import numpy as np
import pytest

from lib.dataset import COCO_CLASSES
from lib.errors import CheckpointError, UserError
from lib.psroi.psroi_pooling import psroi_pool
from rfcn import Detector, import_backbone
from rfcn.checkpoints import checkpoint
from rfcn.checkpoints.pretrained import init_params
from rfcn.config.config import load_config
from rfcn.importers.detector import PY_RFCN_MEANS
from rfcn.importers.sources import detector_in
from rfcn.importers.trunk import RELEASE_MEANS
from rfcn.symbols import make_symbol
from rfcn.symbols.resnet_v1 import RESNET_V1, unit_names
from tests.rfcn.importers.caffe_net import rfcn as caffe_rfcn

UNITS = tuple('res%s_relu' % unit for stage in (2, 3, 4, 5) for unit in unit_names(RESNET_V1[50], stage))
MAPS = ('rpn_cls_score', 'rpn_bbox_pred', 'rfcn_cls', 'rfcn_bbox')
SIZE = (96, 130)


def run_opencv(net, picture, means, names):
    """The blobs of those names, of a picture (1, 3, H, W) of red, green, blue."""
    opencv = cv2.dnn.readNetFromCaffe(np.frombuffer('\n'.join(net.text).encode(), np.uint8),
                                      np.frombuffer(net.model, np.uint8))
    opencv.setInput(np.ascontiguousarray((picture - np.reshape(means, (1, 3, 1, 1)))[:, ::-1], dtype=np.float32))
    return dict(zip(names, opencv.forward(list(names))))


def run_imported(cfg, path, picture, names, inputs=None):
    """The same of an imported detector."""
    network = make_symbol(cfg)
    symbol = network.get_symbol(is_train=False) if inputs is None else network.get_symbol_rfcn(is_train=False)
    internals = symbol.get_internals()
    graph = mx.sym.Group([internals[name + '_output'] for name in names])
    means = np.reshape(cfg.network.PIXEL_MEANS[::-1], (1, 3, 1, 1))
    inputs = dict(inputs or {}, data=mx.nd.array(picture - means))
    executor = graph.simple_bind(mx.cpu(), grad_req='null', **{name: value.shape for name, value in inputs.items()
                                                               if name in graph.list_arguments()})
    executor.copy_params_from(*checkpoint.load_params(path, for_inference=True), allow_extra_params=True)
    executor.forward(is_train=False, **{name: value for name, value in inputs.items() if name in executor.arg_dict})
    return {name: value.asnumpy() for name, value in zip(names, executor.outputs)}


@pytest.fixture(scope='module')
def picture():
    return np.random.RandomState(1).randint(0, 256, (1, 3) + SIZE).astype(np.float32)


@pytest.fixture(scope='module')
def caffe(tmp_path_factory):
    """A caffemodel of two classes, the folder that it was imported into, and its network."""
    net = caffe_rfcn(*SIZE)
    folder = tmp_path_factory.mktemp('caffe')
    (folder / 'resnet50_rfcn_final.caffemodel').write_bytes(net.model)
    import_backbone.main(['--caffe', str(folder / 'resnet50_rfcn_final.caffemodel'), '--classes', 'cat,dog',
                          '--output', str(folder / 'imported')])
    return net, folder


def test_every_unit_and_the_score_maps_of_py_rfcn_are_kept(caffe, picture):
    net, folder = caffe
    cfg = load_config(str(folder / 'imported' / 'config.yaml'))
    names = UNITS + MAPS
    expected = run_opencv(net, picture, PY_RFCN_MEANS, names)
    found = run_imported(cfg, str(folder / 'imported' / 'resnet50_rfcn_final-0000.params'), picture, names)
    assert len(UNITS) == 16
    for name in names:
        assert found[name].shape == expected[name].shape and expected[name].std() > 0.05
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-3, atol=1e-3 * expected[name].std(),
                                   err_msg=name)


def test_the_configuration_is_that_of_py_rfcn(caffe):
    cfg = load_config(str(caffe[1] / 'imported' / 'config.yaml'))
    assert (cfg.symbol, cfg.CLASS_AGNOSTIC, cfg.network.POOLED_SIZE) == ('resnet_v1_50_rfcn', True, 3)
    assert cfg.dataset.CLASSES == ('cat', 'dog') and cfg.network.PIXEL_MEANS == (102.98, 115.947, 122.772)
    assert cfg.SCALES == ((600, 1000),) and cfg.network.ANCHOR_SCALES == (8, 16, 32)
    assert (cfg.TEST.RPN_PRE_NMS_TOP_N, cfg.TEST.RPN_POST_NMS_TOP_N, cfg.TEST.RPN_MIN_SIZE) == (6000, 300, 16)


def test_the_imported_detector_detects(caffe):
    folder = caffe[1] / 'imported'
    params = str(folder / 'resnet50_rfcn_final-0000.params')
    detector = Detector(str(folder / 'config.yaml'), params, ['TEST.SCALES=[[96,130]]'])
    found = detector.detect(np.random.RandomState(0).randint(0, 256, SIZE + (3,)).astype(np.uint8))
    assert found and {one.class_name for one in found} <= {'cat', 'dog'}


def test_position_sensitive_maps_have_one_order_in_caffe_and_here():
    # OpenCV's layer of Caffe's operator on maps that are all different: a RoI on whole bins, where its rounding agrees.
    maps = np.arange(18, dtype=np.float32)[None, :, None, None] * 100 + np.random.RandomState(0).rand(1, 18, 6, 6)
    rois = np.array([[0, 0, 0, 95, 95]], dtype=np.float32)
    text = ('input: "maps" input_shape { dim: 1 dim: 18 dim: 6 dim: 6 } input: "rois" input_shape { dim: 1 dim: 5 } '
            'layer { name: "pool" type: "PSROIPooling" bottom: "maps" bottom: "rois" top: "pool" '
            'psroi_pooling_param { spatial_scale: 0.0625 output_dim: 2 group_size: 3 } }')
    opencv = cv2.dnn.readNetFromCaffe(np.frombuffer(text.encode(), np.uint8))
    opencv.setInput(maps.astype(np.float32), 'maps')
    opencv.setInput(rois, 'rois')
    np.testing.assert_allclose(opencv.forward().reshape(1, 2, 3, 3), psroi_pool(maps, rois, 1 / 16, 2, 3), rtol=1e-5)


def test_both_pairs_of_the_box_layer_are_there_for_training_and_for_testing(caffe):
    arrays = checkpoint.load_arrays(str(caffe[1] / 'imported' / 'resnet50_rfcn_final-0000.params'))
    train, test = [arrays['arg:rfcn_bbox_bias' + end].asnumpy().reshape(2, 4, 9) for end in ('', '_test')]
    np.testing.assert_allclose(train * np.reshape([0.1, 0.1, 0.2, 0.2], (1, 4, 1)), test, rtol=1e-6)


def test_a_model_without_an_rpn_runs_on_given_rois(tmp_path, picture, capsys):
    net = caffe_rfcn(*SIZE, box_sets=3, bins=3, with_rpn=False)      # 3 bins a side follow from the names
    (tmp_path / 'final.caffemodel').write_bytes(net.model)
    import_backbone.main(['--caffe', str(tmp_path / 'final.caffemodel'), '--classes', 'cat,dog',
                          '--output', str(tmp_path / 'out')])
    assert 'It has no RPN' in capsys.readouterr().out
    cfg = load_config(str(tmp_path / 'out' / 'config.yaml'))
    assert not cfg.CLASS_AGNOSTIC and cfg.network.POOLED_SIZE == 3
    expected = run_opencv(net, picture, RELEASE_MEANS, MAPS[2:])
    found = run_imported(cfg, str(tmp_path / 'out' / 'final-0000.params'), picture, MAPS[2:],
                         {'rois': mx.nd.array([[[0, 0, 0, 50, 50]]])})
    for name in MAPS[2:]:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-3, atol=5e-4)


def release_params(path, symbol, classes, **settings):
    """A .params file as the MXNet release writes one, of random values. Returns its arrays."""
    cfg = load_config(None, ['symbol=' + symbol, 'dataset.NUM_CLASSES=%d' % classes]
                      + ['%s=%s' % item for item in settings.items()])
    graph = make_symbol(cfg).get_symbol(is_train=False)
    arg_params, aux_params, _ = init_params(graph, {'data': (1, 3, 64, 64), 'im_info': (1, 3)})
    for part in ('weight', 'bias'):
        arg_params['rfcn_bbox_%s_test' % part] = arg_params['rfcn_bbox_' + part] + 1
    checkpoint.save_params(path, arg_params, aux_params)
    return checkpoint.load_arrays(path)


@pytest.mark.parametrize('symbol, classes, names', [('resnet_v1_50_rfcn', 21, None),
                                                    ('resnet_v1_50_rfcn_dcn', 81, COCO_CLASSES)],
                         ids=['VOC', 'COCO, deformable'])
def test_parameters_of_the_mxnet_release_come_unchanged_with_a_configuration(symbol, classes, names, tmp_path):
    path = str(tmp_path / 'rfcn_any-0000.params')
    scales = {'network.ANCHOR_SCALES': '[4,8,16,32]'} if names else {}
    before = release_params(path, symbol, classes, **scales)
    import_backbone.main(['--mxnet', path, '--output', str(tmp_path / 'out')])
    cfg = load_config(str(tmp_path / 'out' / 'config.yaml'))
    assert (cfg.symbol, cfg.dataset.NUM_CLASSES) == (symbol, classes)
    assert cfg.network.PIXEL_MEANS == (103.06, 115.9, 123.15) and cfg.TEST.RPN_MIN_SIZE == 0
    if names:
        assert cfg.dataset.CLASSES == names and cfg.dataset.dataset == 'coco'
    after = checkpoint.load_arrays(str(tmp_path / 'out' / 'rfcn_any-0000.params'))
    assert set(after) == set(before)
    for name, value in before.items():
        np.testing.assert_allclose(after[name].asnumpy(), value.asnumpy(), rtol=1e-6, err_msg=name)


@pytest.mark.parametrize('change, message', [
    (dict(classes=5), "tells 4 classes apart besides the background, neither VOC's 20 nor COCO's 80"),
    (dict(classes=21, anchors=7), 'an RPN of 14 scores and 28 deltas per cell'),
    (dict(classes=21, box_sets=3), 'rfcn_cls has 189 maps and rfcn_bbox 108'),
])
def test_what_fits_no_published_model_is_refused(change, message, tmp_path):
    path = tmp_path / 'a.caffemodel'
    path.write_bytes(caffe_rfcn(32, 32, **change).model)
    with pytest.raises(CheckpointError, match=message):
        detector_in('caffe', str(path))


def test_names_of_another_number_are_refused(caffe):
    with pytest.raises(CheckpointError, match='tells 2 classes apart besides the background, and 1 names are given'):
        detector_in('caffe', str(caffe[1] / 'resnet50_rfcn_final.caffemodel'), ('cat',))


def test_a_detector_does_not_replace_the_configuration_of_other_parameters(caffe, tmp_path):
    command = ['--caffe', str(caffe[1] / 'resnet50_rfcn_final.caffemodel'), '--classes', 'cat,dog', '--output']
    (tmp_path / 'rfcn_voc-0007.params').write_text('of a training')
    (tmp_path / 'config.yaml').write_text('its configuration')
    with pytest.raises(CheckpointError, match='config.yaml beside it would take the place of .*rfcn_voc-0007.params'):
        import_backbone.main(command + [str(tmp_path)])
    assert (tmp_path / 'config.yaml').read_text() == 'its configuration' and len(list(tmp_path.iterdir())) == 2


def test_a_detector_and_its_configuration_get_their_names_together(caffe, tmp_path, monkeypatch):
    command = ['--caffe', str(caffe[1] / 'resnet50_rfcn_final.caffemodel'), '--classes', 'cat,dog', '--output']
    monkeypatch.setattr(import_backbone, 'dump', lambda cfg: '\udcff')
    with pytest.raises(UnicodeEncodeError):
        import_backbone.main(command + [str(tmp_path)])
    assert [path.name for path in tmp_path.iterdir()] == ['.lock']


def test_a_layer_that_is_missing_is_named(tmp_path):
    path = str(tmp_path / 'rfcn_any-0000.params')
    arrays = release_params(path, 'resnet_v1_50_rfcn', 21)
    checkpoint.save_arrays(path, {name: value for name, value in arrays.items() if name != 'arg:rpn_cls_score_bias'})
    with pytest.raises(CheckpointError, match='rpn_cls_score_bias is missing, which every R-FCN has'):
        detector_in('mxnet', path)


def test_the_backbone_of_a_detector_alone_can_be_asked_for(caffe, tmp_path, capsys):
    path = str(caffe[1] / 'resnet50_rfcn_final.caffemodel')
    import_backbone.main(['--caffe', path, '--backbone', '--output', str(tmp_path)])
    assert (tmp_path / 'resnet_v1_50-0000.params').is_file()
    assert 'left out: conv_new_1_bias' in capsys.readouterr().out


@pytest.mark.parametrize('options, said', [
    (['--classes', 'cat,dog', '--means', 'source'], '--means is for a backbone'),
    (['--backbone', '--classes', 'cat,dog'], '--classes names those of a detector')])
def test_options_that_would_do_nothing_are_refused(caffe, tmp_path, options, said):
    path = str(caffe[1] / 'resnet50_rfcn_final.caffemodel')
    with pytest.raises(UserError, match=said):
        import_backbone.main(['--caffe', path, '--output', str(tmp_path)] + options)
    assert not list(tmp_path.iterdir())
