"""ONNX files: written for every kind of network, run by ONNX Runtime and OpenVINO beside MXNet."""
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import mxnet as mx
import numpy as np
import pytest

from lib.errors import ConfigError, UserError
from rfcn import Detector, export, inference
from rfcn.checkpoints import checkpoint
from rfcn.checkpoints.pretrained import init_params
from rfcn.config.config import load_config, with_overrides
from rfcn.exporters import onnx_check
from rfcn.exporters.onnx_check import same_detections
from rfcn.exporters.onnx_file import export_onnx, metadata
from rfcn.exporters.onnx_graph import Graph
from rfcn.exporters.onnx_layers import add_network
from rfcn.symbols import make_symbol

EXAMPLE = Path(__file__).resolve().parents[3] / 'examples' / 'detect_onnx.py'
INSTALL = 'is not installed: pip install onnx onnxruntime'
NETWORKS = {
    'rfcn': [],
    'rfcn_native_proposals': ['TEST.CXX_PROPOSAL=true'],
    'rfcn_small_boxes_left_out': ['TEST.RPN_MIN_SIZE=20'],
    'rfcn_one_box_a_class': ['CLASS_AGNOSTIC=false', 'network.POOLED_SIZE=7'],
    'rfcn_one_bin': ['network.POOLED_SIZE=1'],
    'rfcn_stride_32': ['network.CONV5=stride32', 'network.RCNN_FEAT_STRIDE=32'],
    'rfcn_conv4': ['network.CONV5=none'],
    'naive_rcnn': ['symbol=small_naive_rcnn'],
    'faster_rcnn': ['symbol=small_faster_rcnn', 'network.POOLED_SIZE=14'],
    'class_rpn': ['symbol=small_class_rpn'],
    'resnet_18_padded_pool': ['symbol=resnet_v1_18_rfcn', 'network.POOL1=padded'],
    'resnet_50': ['symbol=resnet_v1_50_rfcn', 'network.STRIDE_IN_3X3=true'],
}
SLOW = ('resnet_50',)


@pytest.fixture(params=['onnxruntime', 'openvino'])
def runtime(request):
    """Name of a runtime; the test is skipped where it or the package onnx is not installed."""
    for package in ('onnx', request.param):
        pytest.importorskip(package, reason='%s %s' % (package, INSTALL))
    return request.param


@pytest.fixture
def onnx():
    """The package."""
    return pytest.importorskip('onnx', reason='onnx ' + INSTALL)


def untrained(cfg, folder):
    """A checkpoint of random weights whose scores are spread but far from 0 and 1."""
    cfg = with_overrides(cfg, {'TEST.BATCH_IMAGES': 1})
    symbol = make_symbol(cfg).get_symbol(is_train=False)
    arg_params, aux_params, _ = init_params(symbol, inference.input_shapes(cfg))
    draws = np.random.RandomState(1)
    for name, value in arg_params.items():
        if name.startswith(('rpn_cls', 'rpn_bbox', 'rfcn_', 'rcnn_')):
            arg_params[name] = mx.nd.array(draws.normal(0, 0.002, value.shape))
        elif name.endswith('branch2c_gamma'):
            arg_params[name] = value * 0.3      # or a deep network's features grow without bound
    path = str(folder / 'untrained-0000.params')
    checkpoint.save_params(path, arg_params, aux_params)
    return path


@pytest.mark.parametrize('network', [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [])
                                     for name in sorted(NETWORKS)])
def test_a_file_computes_what_mxnet_does_for_images_of_any_size(network, runtime, tiny_cfg, tmp_path):
    cfg = tiny_cfg(*NETWORKS[network])
    params, out = untrained(cfg, tmp_path), str(tmp_path / 'model.onnx')
    images = export.made_up_images()
    for with_detections in (False, True):
        export_onnx(cfg, params, out, with_detections)
        found = onnx_check.compare(Detector(cfg, params), out, images, runtime)
        assert found.equal, found
        assert found.found and (found.rois is None) == with_detections


def test_files_are_of_standard_operators_alone(onnx, tiny_cfg, tmp_path):
    cfg = tiny_cfg()
    export_onnx(cfg, untrained(cfg, tmp_path), str(tmp_path / 'model.onnx'), with_detections=True)
    model = onnx.load(str(tmp_path / 'model.onnx'))
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [('', 13)]
    assert {node.domain for node in model.graph.node} == {''}
    assert [value.name for value in model.graph.output] == ['boxes', 'scores', 'classes']
    sides = [side.dim_param or side.dim_value for side in model.graph.input[0].type.tensor_type.shape.dim]
    assert sides == [1, 3, 'height', 'width']


def test_the_file_tells_how_an_image_is_prepared(tiny_cfg):
    facts = {name: json.loads(text) for name, text in metadata(tiny_cfg()).items()}
    assert facts == {'classes': ['blue', 'red'], 'means_rgb': [123.0, 116.0, 103.0], 'shorter_side': 64,
                     'longest_side': 96, 'image_stride': 0, 'symbol': 'small_rfcn', 'class_agnostic': True}


def test_deformable_networks_are_refused(tiny_cfg, tmp_path):
    cfg = tiny_cfg('symbol=small_rfcn_dcn')
    with pytest.raises(ConfigError, match='deformable R-FCN cannot be written as ONNX.*Plain MXNet can'):
        export_onnx(cfg, untrained(cfg, tmp_path), str(tmp_path / 'model.onnx'))


def test_operators_that_the_table_does_not_have_are_named():
    symbol = mx.sym.erfinv(mx.sym.Variable('data'), name='odd')
    with pytest.raises(ConfigError, match='odd: the operator erfinv cannot be written as ONNX; those that can: '):
        add_network(Graph(), symbol, {}, {})


@pytest.mark.parametrize('layer, kinds', [
    (dict(op='Activation', act_type='softrelu'), 'relu, sigmoid, tanh'),
    (dict(op='Pooling', pool_type='sum', global_pool=True, kernel=(1, 1)), 'avg, max'),
    (dict(op='Pooling', pool_type='sum', kernel=(2, 2)), 'avg, max')])      # it was written as that of averages
def test_kinds_of_layers_that_onnx_lacks_are_refused(layer, kinds):
    symbol = getattr(mx.sym, layer.pop('op'))(mx.sym.Variable('data'), **layer)
    with pytest.raises(ConfigError, match='of the kind s.* cannot be written as ONNX; those that can: %s$' % kinds):
        add_network(Graph(), symbol, {}, {})


@pytest.mark.parametrize('setting, named', [
    ('TEST.NMS_METHOD=soft_linear', '^TEST.NMS_METHOD.*plain non-maximum suppression'),
    ('TEST.BOX_VOTING=true', '^TEST.BOX_VOTING.*plain non-maximum suppression'),
    ('TEST.FLIP=true', 'TEST.SCALES and TEST.FLIP'), ('TEST.SCALES=[[64, 96], [32, 48]]', 'TEST.SCALES and TEST.FLIP')])
def test_detections_that_a_file_cannot_make_are_refused(setting, named, tiny_cfg, tmp_path):
    cfg = tiny_cfg(setting)
    with pytest.raises(ConfigError, match=named):
        export_onnx(cfg, untrained(cfg, tmp_path), str(tmp_path / 'model.onnx'), with_detections=True)


def test_without_the_package_onnx_a_sentence_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, 'onnx', None)
    with pytest.raises(UserError, match='takes the package onnx: pip install onnx$'):
        Graph().save(str(tmp_path / 'model.onnx'), {})


def test_a_package_onnx_that_fails_is_not_told_as_missing(monkeypatch, tmp_path):
    (tmp_path / 'onnx.py').write_text('import ml_dtypes_that_is_not_there')
    monkeypatch.delitem(sys.modules, 'onnx', raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UserError, match='it is installed, and its import fails: No module named .ml_dtypes_that'):
        Graph().save(str(tmp_path / 'model.onnx'), {})


def test_without_a_runtime_the_command_says_that_it_did_not_check(monkeypatch, caplog, onnx, tiny_run, tiny_params):
    monkeypatch.setattr(onnx_check, 'installed_runtimes', list)
    cfg = load_config(str(tiny_run / 'config.yaml'))
    assert export.check(cfg, tiny_params, 'model.onnx', []) is None
    assert 'model.onnx was not run' in caplog.text


def test_a_file_is_compared_with_fp32_whatever_the_precision_of_tests(monkeypatch, tiny_arguments, tmp_path):
    seen = []

    def compare(detector, *others):
        seen.append(detector.cfg.TEST.PRECISION)
        return SimpleNamespace(equal=True)
    monkeypatch.setattr(onnx_check, 'installed_runtimes', lambda: ['onnxruntime'])
    monkeypatch.setattr(onnx_check, 'compare', compare)
    monkeypatch.setattr(export, 'export_onnx', lambda *arguments: None)
    words = [*tiny_arguments, '--out', str(tmp_path / 'model.onnx'), 'TEST.PRECISION=bf16']
    assert export.main(words) == 0 and seen == ['fp32']


def test_the_command_returns_1_where_the_file_differs(tiny_arguments, monkeypatch, capsys, runtime, tmp_path):
    monkeypatch.setattr(onnx_check, 'installed_runtimes', lambda: [runtime])
    words = [*tiny_arguments, '--out', str(tmp_path / 'model.onnx')]
    assert export.main(words) == 0
    assert 'equals MXNet: RoIs differ by up to ' in capsys.readouterr().out
    monkeypatch.setattr(onnx_check, 'ROI_LIMIT', -1)
    assert export.main(words) == 1
    assert 'DIFFERS from MXNet' in capsys.readouterr().out


def test_a_comparison_finds_detections_that_are_missing_moved_or_too_many():
    wanted = [np.zeros((0, 5)), np.array([[0, 0, 9, 9, 0.9], [20, 0, 29, 9, 0.8]])]
    moved = [wanted[0], wanted[1] + [[0, 0, 0, 0, 0], [0.2, 0, 0, 0, 0]]]
    assert same_detections(wanted, wanted, 0.3) == (2, 2, 0, 0, 0)
    assert same_detections(wanted, [wanted[0], wanted[1][:1]], 0.3) == (2, 1, 0, 0, 0)
    assert same_detections(wanted, moved, 0.3) == (2, 1, 1, 1, 1)
    assert same_detections(wanted, [wanted[0], moved[1] + [0, 0, 0, 0, 2e-6]], 0.3) == (2, 1, 1, 0, 0)
    assert same_detections(wanted, [wanted[0], moved[1] + [0, 50, 0, 50, 0]], 0.3) == (2, 0, 2, 0, 0)
    assert same_detections([wanted[0], wanted[1][:1]], [wanted[0], wanted[1][[0, 0]]], 0.3) == (1, 1, 1, 0, 0)


def test_what_a_tied_detection_suppresses_follows_from_the_tie():
    none = np.zeros((0, 5))
    # Two boxes of equal score, of IoU 8 / 12; a third of lower score, of IoU 6 / 14 with the right one, 4 / 16 with the
    # left one. Where the left one stays, the third stays too.
    left, right, third = [0, 0, 9, 9, 0.5], [2, 0, 11, 9, 0.5], [6, 0, 15, 9, 0.2]
    assert same_detections([none, np.array([left, third])], [none, np.array([right])], 0.3) == (2, 0, 1, 2, 1)
    assert same_detections([none, np.array([right])], [none, np.array([left, third])], 0.3) == (1, 0, 2, 1, 2)
    far = [50, 0, 59, 9, 0.2]
    assert same_detections([none, np.array([left, far])], [none, np.array([right])], 0.3) == (2, 0, 1, 1, 1)
    better = third[:4] + [0.6]      # would have suppressed, not been suppressed
    assert same_detections([none, np.array([left, better])], [none, np.array([right])], 0.3) == (2, 0, 1, 1, 1)


@pytest.mark.parametrize('words, told', [
    ([], 'usage: python detect_onnx.py model.onnx picture'),
    (['raw.onnx', 'picture.npy', '50%'], 'usage: python detect_onnx.py model.onnx picture'),
    (['none.onnx', 'picture.npy'], 'error: none.onnx: no such file'),
    (['raw.onnx', 'none.npy'], 'error: none.npy: no such file'),
    (['picture.npy', 'raw.onnx'], 'error: picture.npy: expected a file of rfcn export'),
    (['raw.onnx', 'picture.npy'], 'was exported without --detections'),
])
def test_the_example_says_what_it_expects(onnx, tiny_run, tiny_params, tmp_path, words, told):
    pytest.importorskip('onnxruntime', reason='onnxruntime ' + INSTALL)
    export_onnx(load_config(str(tiny_run / 'config.yaml')), tiny_params,
                str(tmp_path / 'raw.onnx'), with_detections=False)
    (tmp_path / 'picture.npy').touch()
    run = subprocess.run([sys.executable, str(EXAMPLE)] + words, cwd=str(tmp_path), stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True, timeout=120)
    assert run.returncode == 1 and told in run.stdout and 'Traceback' not in run.stdout


def test_the_example_prints_the_detector_s_objects_without_mxnet(onnx, tiny_run, tiny_params, tmp_path):
    pytest.importorskip('onnxruntime', reason='onnxruntime ' + INSTALL)
    cfg = load_config(str(tiny_run / 'config.yaml'), ['network.IMAGE_STRIDE=32', 'TEST.SCALES=[[224, 300]]'])
    export_onnx(cfg, tiny_params, str(tmp_path / 'model.onnx'), with_detections=True)
    image = np.ascontiguousarray(export.made_up_images()[0][:224, :300])    # at the network's scale already
    np.save(tmp_path / 'picture.npy', image[:, :, ::-1])
    code = 'import sys, runpy; sys.modules["mxnet"] = sys.modules["rfcn"] = sys.modules["cv2"] = None; ' \
           'sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0])'
    run = subprocess.run([sys.executable, '-c', code, str(EXAMPLE), 'model.onnx', 'picture.npy', '0.3'], cwd=tmp_path,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
    assert run.returncode == 0, run.stdout
    lines = [line.split() for line in run.stdout.splitlines()]
    expected = Detector(cfg, tiny_params).detect(image, 0.3)
    assert len(expected) == len(lines) > 0
    by_place = sorted((found.class_name,) + tuple(np.round(found.box, 1)) for found in expected)
    for found, other in zip(by_place, sorted((name,) + tuple(map(float, box)) for name, _, *box in lines)):
        assert found[0] == other[0]
        np.testing.assert_allclose(found[1:], other[1:], atol=0.11)


@pytest.mark.parametrize('scale', [0.4, 0.75, 1.7])
def test_the_example_resizes_as_opencv_does_to_a_grey_level(scale):
    functions = {'np': np}
    body = EXAMPLE.read_text().partition('def resized')[2].partition('\ntry:')[0]
    exec('def resized' + body, functions)
    image = cv2.GaussianBlur(export.made_up_images()[0], (0, 0), 2)
    found = functions['resized'](image, scale)
    assert np.abs(found - cv2.resize(image, None, fx=scale, fy=scale).astype(float)).max() <= 1
