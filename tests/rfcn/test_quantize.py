"""The script `rfcn/quantize.py`, and its INT8 models in the other scripts."""
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from lib.errors import CheckpointError, ConfigError
from rfcn import demo, export, quantize
from rfcn import test as test_script
from rfcn.config.config import load_config
from rfcn.detector import Detector
from rfcn.precision import quantization
from rfcn.symbols import make_symbol
from rfcn.train_end2end import train_net

INT8 = 'TEST.PRECISION=int8'


@pytest.fixture(scope='module')
def config(tiny_run):
    return str(tiny_run / 'config.yaml')


@pytest.fixture(scope='module')
def int8_params(tiny_params, config, tmp_path_factory):
    """Path of the INT8 model's parameters."""
    prefix = str(tmp_path_factory.mktemp('int8') / 'tiny-int8')
    return quantize.quantize_net(load_config(config), tiny_params, prefix)


def test_the_script_writes_beside_the_checkpoint_and_says_what_stays_in_float32(config, tiny_params, tmp_path, capsys):
    quantize.main(['--cfg', config, '--params', tiny_params, '--out', str(tmp_path / 'my net'),
                   'TEST.QUANTIZE.FP32_LAYERS=[conv1]', 'TEST.QUANTIZE.CALIB_IMAGES=2'])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        '.lock', 'my net-0000.params', 'my net-0000.states', 'my net-symbol.json']
    quantized = quantization.load_symbol(str(tmp_path / 'my net-0000.params'))
    assert 'conv1' not in quantization.int8_layers(quantized) and 'rfcn_cls' in quantization.int8_layers(quantized)
    printed = capsys.readouterr().out
    assert 'convolutions are INT8; these stay fp32: conv1\n' in printed
    assert "use it with --params '%s' TEST.PRECISION=int8" % (tmp_path / 'my net-0000.params') in printed


@pytest.mark.parametrize('out', ['notes.md', 'small.params', 'small-symbol.json', 'folder/', '-', '/dev/null'])
def test_the_name_of_a_file_is_no_first_part_of_names(config, tiny_params, tmp_path, monkeypatch, out):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'notes.md').touch()
    with pytest.raises(ConfigError, match='--out %s: expected the first part of the names of files' % out):
        quantize.main(['--cfg', config, '--params', tiny_params, '--out', out])
    assert [path.name for path in tmp_path.iterdir()] == ['notes.md']


def test_a_place_for_what_is_not_written_is_refused(config, tiny_params, tmp_path):
    with pytest.raises(ConfigError, match='--per_layer writes nothing'):
        quantize.main(['--cfg', config, '--params', tiny_params, '--per_layer', '--out', str(tmp_path / 'small')])


@pytest.mark.parametrize('prefix', ['tiny', 'again'])
def test_the_graph_of_a_training_and_the_source_of_a_model_are_never_replaced(prefix, config, tiny_run, tmp_path):
    folder = shutil.copytree(tiny_run, tmp_path / 'run')
    shutil.copy(folder / 'tiny-0001.params', folder / 'again-0000.params')
    before = {path.name: path.read_bytes() for path in folder.glob('*.*')}
    source = {'tiny': 'tiny-0001.params', 'again': 'again-0000.params'}[prefix]
    for command, out in ((quantize, ''), (export, '-symbol.json')):
        told = '%s-symbol.json beside it would take the place of what belongs to .*%s' % (prefix, source)
        with pytest.raises(CheckpointError, match=told):
            command.main(['--cfg', config, '--params', str(folder / source), '--out', str(folder / prefix) + out])
    assert before == {path.name: path.read_bytes() for path in folder.glob('*.*')}


def test_a_misspelt_layer_is_refused_with_the_one_that_was_meant(config, tiny_params, tmp_path):
    cfg = load_config(config, ['TEST.QUANTIZE.FP32_LAYERS=[conv_1]'])
    with pytest.raises(ConfigError, match="no convolution 'conv_1'; did you mean conv1"):
        quantize.quantize_net(cfg, tiny_params, str(tmp_path / 'small'))
    assert [path.name for path in tmp_path.iterdir()] == ['.lock']


def test_calibration_images_are_training_images_spread_over_the_set(config):
    cfg = load_config(config, ['TEST.QUANTIZE.CALIB_IMAGES=3'])
    assert [entry['index'] for entry in quantize.calibration_roidb(cfg)] == ['wide1', 'wide3', 'empty']
    cfg = load_config(config, ['TEST.QUANTIZE.CALIB_IMAGES=100'])
    assert len(quantize.calibration_roidb(cfg)) == 6


def test_a_detector_finds_with_an_int8_model_what_the_checkpoint_finds_but_for_rounding(config, tiny_params,
                                                                                        int8_params, picture):
    settings = ['TEST.SCORE_THRESH=0.001']
    expected = Detector(config, tiny_params, settings).detect(picture)
    found = Detector(config, int8_params, settings + [INT8]).detect(picture)
    assert len(found) > 0
    best = expected[0]
    near = [d for d in found if d.class_name == best.class_name and np.abs(d.box - best.box).max() < 8]
    assert near and abs(near[0].score - best.score) < 0.05
    assert near[0].score != best.score  # it did compute in other numbers


def test_the_test_and_the_demo_take_an_int8_model(config, int8_params, tiny_voc, tmp_path, capsys):
    test_script.main(['--cfg', config, '--params', int8_params, INT8, 'output_path=%s' % tmp_path])
    assert 'tiny-int8-0000.params' in capsys.readouterr().out
    demo.main(['--cfg', config, '--params', int8_params, '--image', str(tiny_voc / 'JPEGImages' / 'high1.jpg'),
               '--out', str(tmp_path / 'drawings'), INT8])
    assert len(list((tmp_path / 'drawings').iterdir())) == 1


def test_detections_of_another_int8_model_of_the_checkpoint_are_not_taken_for_its_own(config, int8_params, tiny_params,
                                                                                      tmp_path):
    cfg = load_config(config, [INT8, 'output_path=%s' % tmp_path])
    other = quantize.quantize_net(load_config(config, ['TEST.QUANTIZE.FP32_LAYERS=[rfcn_bbox]']),
                                  tiny_params, str(tmp_path / 'other'))
    saved = []
    for params in (int8_params, other, other):
        test_script.test_rcnn(cfg, tmp_path, params)
        saved.append((tmp_path / 'voc_test_detections.pkl').read_bytes())
    assert saved[0] != saved[1] and saved[1] == saved[2]


def test_a_plain_checkpoint_is_no_int8_model(config, tiny_params):
    with pytest.raises(ConfigError, match='TEST.PRECISION is int8, but .*tiny-0001.params has no INT8 graph'):
        Detector(config, tiny_params, [INT8])


def test_an_int8_model_serves_nothing_else(config, tiny_cfg, int8_params, tmp_path):
    with pytest.raises(CheckpointError, match='is an INT8 model, .* Write TEST.PRECISION=int8, or take the checkpoint'):
        Detector(config, int8_params)
    prefix = int8_params.replace('-0000.params', '')
    with pytest.raises(CheckpointError, match='is an INT8 model, from which no training goes on'):
        train_net(tiny_cfg('network.pretrained=' + prefix, 'network.pretrained_epoch=0'), tmp_path)
    with pytest.raises(CheckpointError, match='is an INT8 model, .* or take the checkpoint that it was made of'):
        export.main(['--cfg', config, '--params', int8_params, '--out', str(tmp_path / 'plain-symbol.json'), INT8])
    assert not (tmp_path / 'plain-symbol.json').exists()


def test_a_graph_of_another_network_is_refused(config, int8_params):
    with pytest.raises(CheckpointError, match='network.POOLED_SIZE was 3, now 7'):
        Detector(config, int8_params, [INT8, 'network.POOLED_SIZE=7'])


@pytest.mark.parametrize('name', ['tiny-int8-0000.params', 'tiny-int8-0000.states', 'tiny-int8-symbol.json'])
def test_a_mixture_of_two_int8_models_is_refused(config, tiny_cfg, int8_params, tmp_path, name):
    other = train_net(tiny_cfg('seed=1'), tmp_path) + '-0001.params'
    mixed = quantize.quantize_net(tiny_cfg('seed=1'), other, str(tmp_path / 'tiny-int8'))
    Detector(config, mixed, [INT8])
    shutil.copy(str(Path(int8_params).parent / name), str(tmp_path))
    with pytest.raises(CheckpointError, match='are not of one INT8 model|are of different runs'):
        Detector(config, mixed, [INT8])


def test_int8_is_for_the_cpu(config, int8_params):
    with pytest.raises(ConfigError, match="int8 runs on the CPU alone; write fp32, or gpus: ''"):
        Detector(config, int8_params, [INT8, 'gpus=0'])


def test_the_report_lists_what_each_layer_costs_and_writes_nothing(config, tiny_params, tmp_path, capsys):
    params = shutil.copy(tiny_params, str(tmp_path))
    quantize.main(['--cfg', config, '--params', params, '--per_layer', 'TEST.QUANTIZE.CALIB_IMAGES=2'])
    printed = capsys.readouterr().out
    assert all(text in printed
               for text in ('all layers', 'conv1', 'rfcn_bbox', 'res4a_branch2a', '% of the root mean square'))
    assert 'FP32_LAYERS' not in printed and [path.name for path in tmp_path.iterdir()] == ['tiny-0001.params']


def test_the_report_tells_what_layers_kept_in_float32_gain(config, tiny_run, capsys):
    with pytest.raises(ConfigError, match="no convolution 'conv_1'; did you mean conv1"):
        report(config, tiny_run, 'TEST.QUANTIZE.FP32_LAYERS=[conv_1]')
    cfg = load_config(config)
    kept = [name for name in quantization.convolutions(make_symbol(cfg).get_symbol(is_train=False)) if name != 'conv1']
    report(config, tiny_run, 'TEST.QUANTIZE.FP32_LAYERS=[%s]' % ', '.join(kept), 'TEST.QUANTIZE.CALIB_IMAGES=2')
    rows = dict(re.findall(r'INFO (\S[\w ]+?)  +([\d. ]+)$', capsys.readouterr().out, re.MULTILINE))
    every, fewer = [[float(value) for value in rows[name].split()] for name in ('all layers', 'all but FP32_LAYERS')]
    assert len(every) == 4 and 0 < sum(fewer) < sum(every)
    assert rows['all but FP32_LAYERS'] == rows['conv1']     # which alone is in INT8


def report(config, tiny_run, *overrides):
    quantize.main(['--cfg', config, '--params', str(tiny_run / 'tiny-0001.params'), '--per_layer', *overrides])
