"""The script `rfcn/test.py`: testing a checkpoint."""
import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from experiments.rfcn import rfcn_alternate_train_test, rfcn_end2end_train_test, rfcn_given_train_test
from lib.errors import CheckpointError, ConfigError, DatasetError, UserError
from lib.utils.image_file import imread
from lib.utils.safe_load import load_pickle
from rfcn import data_sets, evaluate, propose, train_alternate, train_end2end
from rfcn import test as script
from rfcn.checkpoints import checkpoint
from rfcn.config.config import load_config, with_overrides
from rfcn.report import command
from tests.conftest import TINY_SETS

TRAIN_AND_TEST = [rfcn_end2end_train_test, rfcn_alternate_train_test, rfcn_given_train_test]


@pytest.fixture
def cfg(tiny_run, tmp_path):
    return with_overrides(load_config(tiny_run / 'config.yaml'), {'output_path': str(tmp_path)})


@pytest.fixture
def detect(cfg, tiny_run, tmp_path, monkeypatch):
    """A function (keywords of `test_rcnn`) -> Evaluation, whether it detected anew."""
    def run(params=tiny_run / 'tiny-0001.params', cfg=cfg, **options):
        calls, make = [], script.inference.predictor
        monkeypatch.setattr(script.inference, 'predictor', lambda *args: calls.append(args) or make(*args))
        evaluation = script.test_rcnn(cfg, tmp_path, str(params), **options)
        monkeypatch.undo()
        return evaluation, bool(calls)
    return run


def test_the_script_takes_the_last_checkpoint_of_the_training_and_prints_a_table(tiny_run, capsys):
    output = tiny_run.parent.parent
    script.main(['--cfg', str(output.parent / 'tiny.yaml'), '--vis'])
    printed = capsys.readouterr().out
    assert 'tiny-0001.params' in printed
    for text in 'class', 'AP@0.5', 'AP@0.7', 'blue', 'red', 'mean':
        assert text in printed
    folder = output / 'tiny' / 'test'
    assert sorted(path.name for path in (folder / 'drawings').iterdir()) == ['high1.png', 'wide1.png', 'wide3.png']
    all_boxes = load_pickle(str(folder / 'voc_test_detections.pkl'))
    assert [len(of_class) for of_class in all_boxes] == [3, 3, 3]  # of the background too, though empty
    written = sorted(path.name for path in folder.glob('results/voc/Main/*'))
    assert written == ['comp4_det_test_blue.txt', 'comp4_det_test_red.txt']
    assert load_config(folder / 'test_config.yaml').dataset.CLASSES == ('blue', 'red')


def test_a_threshold_on_the_command_line_is_that_of_detections_and_its_results_stand_apart(tiny_arguments, tmp_path,
                                                                                           capsys):
    script.main([*tiny_arguments, '--thresh', '0.99', 'output_path=%s' % tmp_path])
    all_boxes = load_pickle(str(tmp_path / 'tiny' / 'test' / 'thresh_0.99' / 'voc_test_detections.pkl'))
    assert not any(len(boxes) for of_class in all_boxes for boxes in of_class)
    assert 'AP@0.5' in capsys.readouterr().out
    assert not (tmp_path / 'tiny' / 'test' / 'result.json').exists()      # that of the experiment
    settings = tmp_path / 'tiny' / 'test' / 'thresh_0.99' / 'test_config.yaml'
    command.main(['--cfg', str(settings), '--out', str(tmp_path / 'report')])
    assert json.loads((tmp_path / 'report' / 'report.json').read_text())['facts']['detections'] == 0


def test_saved_detections_are_evaluated_again_with_the_same_result(detect):
    first, detected = detect()
    assert detected
    again, detected = detect()
    assert not detected and again.metrics == first.metrics
    assert detect(ignore_cache=True)[1]


def test_saved_detections_of_other_parameters_settings_or_images_are_not_used(detect, cfg, tiny_params, tmp_path):
    # Departure: the release takes whatever detections.pkl it finds.
    detect()
    assert detect(cfg=with_overrides(cfg, {'TEST.NMS': 0.6}))[1]
    other = tmp_path / 'other.params'
    shutil.copy(tiny_params, str(other))
    # The name does not matter, the content does.
    assert not detect(params=other, cfg=with_overrides(cfg, {'TEST.NMS': 0.6}))[1]
    arg_params, aux_params = checkpoint.load_params(str(other))
    checkpoint.save_params(str(other), dict(arg_params, rfcn_cls_bias=arg_params['rfcn_cls_bias'] + 1), aux_params)
    assert detect(params=other, cfg=with_overrides(cfg, {'TEST.NMS': 0.6}))[1]


def test_saved_detections_of_images_that_have_changed_are_not_used(detect, cfg, own_tiny_voc):
    cfg = with_overrides(cfg, {'dataset.dataset_path': str(own_tiny_voc)})
    assert detect(cfg=cfg)[1] and not detect(cfg=cfg)[1]
    image_list = own_tiny_voc / 'ImageSets' / 'Main' / 'test.txt'
    image_list.write_text('high1\nwide1\nwide3\n')  # another order
    assert detect(cfg=cfg)[1] and not detect(cfg=cfg)[1]
    picture = own_tiny_voc / 'JPEGImages' / 'wide1.jpg'
    first = picture.read_bytes()
    shutil.copy(str(own_tiny_voc / 'JPEGImages' / 'wide2.jpg'), str(picture))
    assert detect(cfg=cfg)[1] and not detect(cfg=cfg)[1]
    time = picture.stat().st_mtime_ns
    picture.write_bytes(first)
    os.utime(str(picture), ns=(time, time))     # as a copy that keeps the time
    assert detect(cfg=cfg)[1]


def test_saved_detections_that_another_file_has_replaced_are_not_used(detect, tmp_path):
    first, _ = detect()
    saved = tmp_path / 'voc_test_detections.pkl'
    saved.write_bytes(pickle.dumps([[np.zeros((0, 5))] * 3] * 3))
    again, detected = detect()
    assert detected and again.metrics == first.metrics and not detect()[1]


def test_annotations_are_read_anew_for_saved_detections(detect, cfg, own_tiny_voc):
    # Departure: the release keeps them in annots.pkl for ever.
    cfg = with_overrides(cfg, {'dataset.dataset_path': str(own_tiny_voc)})
    detect(cfg=cfg)
    annotation = own_tiny_voc / 'Annotations' / 'wide1.xml'
    annotation.write_text(annotation.read_text().replace('<name>red</name>', '<name>blue</name>'))
    evaluation, detected = detect(cfg=cfg)
    assert not detected and 'blue              3' in evaluation.table


def test_a_missing_checkpoint_says_what_to_do(tiny_yaml):
    with pytest.raises(FileNotFoundError,
                       match='tiny-0009.params: no such parameter file; train first, or name one with --params$'):
        script.main(['--cfg', tiny_yaml(), 'TEST.test_epoch=9'])


def test_the_checkpoint_beside_the_config_of_a_run_is_named(tiny_run, tmp_path):
    run = shutil.copytree(str(tiny_run), str(tmp_path / 'my run'))
    with pytest.raises(FileNotFoundError, match="beside the configuration: --params '%s/tiny-0001.params'$" % run):
        script.main(['--cfg', run + '/config.yaml'])


def test_a_missing_checkpoint_is_told_with_those_that_its_folder_has(tiny_yaml, tiny_params):
    there, missing = Path(tiny_params).name, Path(tiny_params).with_name('other-0009.params')
    with pytest.raises(FileNotFoundError, match='other-0009.params: no such parameter file; its folder has .*' + there):
        script.main(['--cfg', tiny_yaml(), '--params', str(missing)])


def test_a_checkpoint_of_another_shape_is_named(tiny_yaml, tiny_params, tmp_path):
    alone = shutil.copy(tiny_params, str(tmp_path / 'alone.params'))
    with pytest.raises(CheckpointError, match='alone.params does not fit the network'):
        script.main(['--cfg', tiny_yaml(), '--params', alone, 'network.POOLED_SIZE=7'])


def test_testing_on_the_images_of_the_training_leaves_its_configuration(tiny_run, tmp_path):
    folder = shutil.copytree(str(tiny_run), str(tmp_path / 'tiny' / 'train'))
    before = open(folder + '/config.yaml').read()
    yaml = shutil.copy(str(tiny_run / 'config.yaml'), str(tmp_path / 'tiny.yaml'))
    script.main(['--cfg', yaml, 'output_path=%s' % tmp_path, 'dataset.test_image_set=train', 'TEST.NMS=0.6'])
    assert open(folder + '/config.yaml').read() == before
    assert load_config(folder + '/test_config.yaml').TEST.NMS == 0.6


def test_the_settings_beside_a_result_are_those_that_it_comes_from_whatever_ran_there_since(tiny_run, tiny_params,
                                                                                             tmp_path):
    words = ['--cfg', shutil.copy(str(tiny_run / 'config.yaml'), str(tmp_path)), 'output_path=%s' % tmp_path]
    script.main([*words, '--params', tiny_params, 'TEST.NMS=0.6'])
    with pytest.raises(CheckpointError):
        script.main([*words, '--params', tiny_params, 'TEST.NMS=0.5', 'network.POOLED_SIZE=7'])
    propose.main([*words, '--params', tiny_params, 'TEST.NMS=0.4'])
    assert load_config(tmp_path / 'config' / 'test' / 'test_config.yaml').TEST.NMS == 0.6


def test_a_pipe_in_the_place_of_the_parameters_is_refused_and_not_waited_for(detect, tmp_path):
    os.mkfifo(str(tmp_path / 'pipe.params'))
    with pytest.raises(CheckpointError, match=r'expected a parameter file: .* this is a named pipe \(FIFO\)'):
        detect(params=tmp_path / 'pipe.params')


def test_an_image_that_is_skipped_stops_neither_the_test_nor_the_drawings(detect, cfg, own_tiny_voc, tmp_path):
    (own_tiny_voc / 'JPEGImages' / 'wide1.jpg').write_bytes(b'cut off')
    cfg = with_overrides(cfg, {'dataset.dataset_path': str(own_tiny_voc), 'dataset.on_bad_image': 'skip'})
    assert detect(cfg=cfg, vis=True)[1] and not detect(cfg=cfg)[1]
    assert sorted(path.name for path in (tmp_path / 'drawings').iterdir()) == ['high1.png', 'wide3.png']


def test_a_report_on_images_without_annotations_is_refused_before_the_first_detection(tiny_arguments, own_tiny_voc,
                                                                                      tmp_path, monkeypatch):
    for name in TINY_SETS['test']:
        (own_tiny_voc / 'Annotations' / (name + '.xml')).unlink()
    monkeypatch.delattr(evaluate, 'detections')
    with pytest.raises(UserError, match='voc_test has no annotations: there is nothing that a report could compare'):
        script.main([*tiny_arguments, 'dataset.dataset_path=%s' % own_tiny_voc, 'output_path=%s' % tmp_path,
                     '--report', str(tmp_path / 'report')])


def test_an_image_whose_header_is_damaged_stops_a_test_before_the_first_detection(cfg, own_tiny_voc, monkeypatch):
    (own_tiny_voc / 'JPEGImages' / 'wide1.jpg').write_bytes(b'cut off')
    cfg = with_overrides(cfg, {'dataset.dataset_path': str(own_tiny_voc)})
    monkeypatch.delattr(evaluate, 'detections')
    with pytest.raises(DatasetError, match='wide1.jpg: expected an image.*dataset.on_bad_image=skip'):
        evaluate.evaluate(cfg, None, *data_sets.datasets(cfg, cfg.dataset.test_image_set))


def test_an_image_is_drawn_that_is_as_large_as_the_configuration_allows(detect, tmp_path, monkeypatch):
    monkeypatch.setattr(imread, '__defaults__', (10,))      # pixels; MAX_PIXELS of the configuration is larger
    detect(vis=True)
    assert len(list((tmp_path / 'drawings').iterdir())) == 3


@pytest.mark.parametrize('thresh', ['1.5', '-0.1', 'nan', 'high'])
def test_a_threshold_that_is_no_share_is_refused(thresh, tiny_run, capsys):
    with pytest.raises(SystemExit):
        script.main(['--cfg', str(tiny_run / 'config.yaml'), '--thresh', thresh])
    assert '--thresh: expected a number from 0 to 1, not %r' % thresh in capsys.readouterr().err


@pytest.fixture
def no_training(monkeypatch):
    for training in train_end2end, train_alternate:
        monkeypatch.setattr(training, 'main', lambda argv: pytest.fail('trained'))
    monkeypatch.setattr(train_alternate, 'main_given', lambda argv: pytest.fail('trained'))


@pytest.mark.parametrize('script', TRAIN_AND_TEST)
@pytest.mark.parametrize('override, error, message', [
    ('dataset.test_image_set=tset', FileNotFoundError, 'tset'),
    ('TEST.PRECISION=int8', ConfigError, 'TEST.PRECISION is int8, .*rfcn quantize')])
def test_a_test_that_cannot_be_is_refused_before_the_training(tiny_yaml, no_training, script, override, error, message):
    with pytest.raises(error, match=message):
        script.main(['--cfg', tiny_yaml(), override])


@pytest.mark.parametrize('script', TRAIN_AND_TEST)
def test_a_broken_test_image_is_told_before_the_training(tiny_yaml, own_tiny_voc, no_training, script):
    (own_tiny_voc / 'JPEGImages' / 'high1.jpg').write_bytes(b'no image')
    with pytest.raises(DatasetError, match='high1.jpg'):
        script.main(['--cfg', tiny_yaml(own_tiny_voc), 'dataset.test_image_set=train'])
