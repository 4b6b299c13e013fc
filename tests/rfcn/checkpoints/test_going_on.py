"""Whole trainings that go on: only with their own settings and data, and counting images."""
import shutil
from pathlib import Path

import numpy as np
import pytest

from lib.errors import CheckpointError, ConfigError
from rfcn import quantize, train_end2end
from rfcn.checkpoints import resume, states
from rfcn.checkpoints.checkpoint import load_params
from rfcn.config.config import load_config
from rfcn.core.interrupt import Stopped
from rfcn.core.module import TrainModule
from rfcn.core.trainer import NonFiniteLoss, Trainer
from rfcn.precision import quantization
from rfcn.train_alternate import train_rpn
from rfcn.train_end2end import train_net
from tests.rfcn.conftest import log_lines

AUTO = 'TRAIN.RESUME=auto'


@pytest.fixture
def train(tiny_yaml, own_tiny_voc, tmp_path):
    """A function (KEY=VALUE, ...) that trains into tmp_path/run on data that may be changed -> prefix."""
    def run(*overrides):
        (tmp_path / 'run').mkdir(exist_ok=True)
        return train_net(load_config(tiny_yaml(own_tiny_voc), overrides), tmp_path / 'run')
    return run


@pytest.fixture
def train_until(train, stop_at, monkeypatch):
    """A function (number, KEY=VALUE, ...): the same, but the run is asked to stop in its step of that number."""
    def run(number, *overrides):
        with monkeypatch.context() as patched:
            stop_at(number, patched)
            with pytest.raises(Stopped):
                train(*overrides)
    return run


@pytest.fixture
def seen(monkeypatch):
    """The names of the images of every step that is done, step by step."""
    steps, step = [], Trainer._step
    monkeypatch.setattr(Trainer, '_step', lambda trainer, batch: steps.append(
        [Path(image).stem for image in batch.images]) or step(trainer, batch))
    return steps


def set_list(voc, *names):
    (voc / 'ImageSets' / 'Main' / 'train.txt').write_text('\n'.join(names) + '\n')


def change_box(voc, name='high2'):
    path = voc / 'Annotations' / (name + '.xml')
    path.write_text(path.read_text().replace('<xmin>9</xmin>', '<xmin>11</xmin>'))


def rates(prefix):
    return [(line['epoch'], round(line['lr'], 6)) for line in log_lines(prefix)]


@pytest.mark.parametrize('before, now', [(1, 4), (1, 2), (2, 1), (2, 3)])
def test_an_epoch_that_goes_on_with_another_batch_size_shows_each_image_once(train, train_until, seen, caplog, before,
                                                                             now):
    train_until(2, 'TRAIN.BATCH_IMAGES=%d' % before, 'TRAIN.end_epoch=2')
    first = sum(seen, [])
    assert len(first) == 2 * before
    del seen[:]
    train('TRAIN.BATCH_IMAGES=%d' % now, 'TRAIN.end_epoch=2', AUTO)
    left = 6 - len(first)
    rest = sum(seen, [])[:left]
    assert sorted(first + rest) == ['empty', 'high1', 'high2', 'wide1', 'wide2', 'wide3']
    assert len(seen) == -(-left // now) + -(-6 // now)
    assert 'an update was made of %d images and is now made of %d' % (before, now) in caplog.text


def test_the_rate_drops_after_the_same_epoch_with_another_batch_size(train):
    settings = ['TRAIN.lr_step=[2]', 'default.frequent=1']
    train('TRAIN.BATCH_IMAGES=3', 'TRAIN.end_epoch=1', *settings)
    prefix = train('TRAIN.BATCH_IMAGES=1', 'TRAIN.end_epoch=3', AUTO, *settings)
    assert rates(prefix) == [(1, 0.01)] * 2 + [(2, 0.01)] * 6 + [(3, 0.001)] * 6


def test_an_epoch_interrupted_twice_with_different_batch_sizes_still_shows_each_image_once(train, train_until,
                                                                                           seen):
    train_until(2, 'TRAIN.BATCH_IMAGES=1')
    train_until(1, 'TRAIN.BATCH_IMAGES=3', AUTO)
    train('TRAIN.BATCH_IMAGES=1', AUTO)
    assert sorted(sum(seen, [])) == ['empty', 'high1', 'high2', 'wide1', 'wide2', 'wide3']


def test_a_run_goes_on_beside_an_int8_model_of_its_checkpoint_but_not_beside_another_run(train):
    prefix = train('TRAIN.end_epoch=1')
    cfg = load_config(str(Path(prefix).parent / 'config.yaml'))
    quantize.quantize_net(cfg, prefix + '-0001.params', quantization.int8_prefix(prefix + '-0001.params'))
    train('TRAIN.end_epoch=2', AUTO)
    assert Path(prefix + '-0002.params').exists()
    with pytest.raises(CheckpointError, match='holds another run .*tiny-'):
        train('TRAIN.model_prefix=second')


def test_where_the_epoch_to_go_on_from_is_not_there_auto_is_named(train):
    with pytest.raises(FileNotFoundError, match='-0000.params: no such .*TRAIN.RESUME=auto from the newest'):
        train('TRAIN.RESUME=true')


def test_parameters_without_states_are_no_run_that_auto_goes_on_with_and_what_does_is_said(train):
    Path(train() + '-0001.states').unlink()
    with pytest.raises(CheckpointError, match='no parameters with their states .*RESUME=true TRAIN.begin_epoch=N'):
        train(AUTO, 'TRAIN.end_epoch=2')
    assert Path(train('TRAIN.RESUME=true', 'TRAIN.begin_epoch=1', 'TRAIN.end_epoch=2') + '-0002.params').exists()


def test_other_threads_of_the_loader_change_nothing(train, tmp_path):
    whole = train('TRAIN.end_epoch=2')
    shutil.move(str(tmp_path / 'run'), str(tmp_path / 'whole'))
    train('TRAIN.end_epoch=1', 'TRAIN.WORKERS=0')
    train('TRAIN.end_epoch=2', 'TRAIN.WORKERS=3', AUTO)
    ours, theirs = (load_params(path + '-0002.params') for path in (whole, str(tmp_path / 'whole' / 'tiny')))
    for params, others in zip(ours, theirs):
        assert all(np.array_equal(params[name].asnumpy(), others[name].asnumpy()) for name in others)


def test_a_list_that_was_cut_is_refused_and_nothing_is_written(train, train_until, own_tiny_voc, tmp_path):
    train_until(2)
    set_list(own_tiny_voc, 'wide1', 'high1')
    before = {path.name: path.read_bytes() for path in (tmp_path / 'run').iterdir()}
    with pytest.raises(CheckpointError, match='tiny-interrupted.states was trained with something else: data was 6 '
                                              'images, of which 4 are gone and 0 have other boxes or proposals, or '
                                              'another picture, now 2 images, 0 of them new'):
        train(AUTO)
    assert {path.name: path.read_bytes() for path in (tmp_path / 'run').iterdir()} == before


def test_a_list_that_was_cut_on_purpose_trains_the_epoch_from_its_beginning(train, train_until, seen, own_tiny_voc,
                                                                            caplog):
    train_until(2)
    set_list(own_tiny_voc, 'wide1', 'high1')
    del seen[:]
    prefix = train(AUTO, 'ALLOW_CHANGED=[data]')
    assert sorted(sum(seen, [])) == ['high1', 'wide1']
    assert 'the epoch that was begun starts again' in caplog.text
    assert resume.at_epoch(prefix, 1).progress.num_update == 1


def test_other_boxes_are_noticed(train, own_tiny_voc):
    train()
    change_box(own_tiny_voc)
    with pytest.raises(CheckpointError, match='6 images, of which 0 are gone and 1 have other boxes'):
        train(AUTO, 'TRAIN.end_epoch=2')


def test_a_picture_that_another_one_of_its_size_has_replaced_is_noticed(train, own_tiny_voc):
    train()
    images = Path(own_tiny_voc) / 'JPEGImages'
    shutil.copy(images / 'wide2.jpg', images / 'wide1.jpg')
    with pytest.raises(CheckpointError, match='6 images, of which 0 are gone and 1 have other boxes'):
        train(AUTO, 'TRAIN.end_epoch=2')


def test_a_run_goes_on_with_a_data_set_that_has_grown_and_says_by_how_much(train, own_tiny_voc, caplog):
    set_list(own_tiny_voc, 'wide1', 'wide2', 'high1', 'high2')
    train('TRAIN.lr_step=[1]')
    set_list(own_tiny_voc, 'wide1', 'wide2', 'high1', 'high2', 'wide3', 'empty')
    prefix = train(AUTO, 'TRAIN.end_epoch=2', 'TRAIN.lr_step=[1]', 'default.frequent=1')
    assert '0 images are gone, 2 new, 0 have other boxes' in caplog.text
    assert rates(prefix)[-3:] == [(2, 0.001)] * 3 and resume.at_epoch(prefix, 2).progress.num_update == 6


@pytest.mark.parametrize('change, said', [
    ('dataset.CLASSES=[red,blue]', r"dataset.CLASSES was \['blue', 'red'\], now \['red', 'blue'\]"),
    ('network.PIXEL_MEANS=[0,0,0]', 'network.PIXEL_MEANS was'), ('seed=1', 'seed was 0, now 1'),
    ('TRAIN.lr=0.02', 'TRAIN.lr was 0.01, now 0.02'),
    ('TRAIN.PRECISION=bf16', "TRAIN.PRECISION was 'fp32', now 'bf16'"),
    ('SCALES=[48,96]', 'SCALES was'), ('TRAIN.lr_step=[1]', r'TRAIN.lr_step was \[\], now \[1.0\]'),
])
def test_a_run_does_not_go_on_from_another_ones_checkpoint(train, tmp_path, change, said):
    train()
    before = (tmp_path / 'run' / 'config.yaml').read_text()
    with pytest.raises(CheckpointError, match='tiny-0001.params was trained with something else: .*' + said):
        train(AUTO, 'TRAIN.end_epoch=2', change)
    assert (tmp_path / 'run' / 'config.yaml').read_text() == before


def test_a_change_that_is_meant_is_allowed_by_name(train, caplog):
    train()
    prefix = train(AUTO, 'TRAIN.end_epoch=2', 'TRAIN.lr=0.02', 'ALLOW_CHANGED=[TRAIN.lr]', 'default.frequent=1')
    assert rates(prefix)[-1] == (2, 0.02) and 'TRAIN.lr was 0.01, now 0.02, as ALLOW_CHANGED allows' in caplog.text


def test_a_new_run_does_not_overwrite_another_one_unless_that_is_meant(train, tmp_path, caplog):
    train('TRAIN.end_epoch=2', 'dataset.val_image_set=val')
    with pytest.raises(CheckpointError, match='run holds another run .tiny-0001.params, .*TRAIN.RESUME=auto goes on'):
        train('seed=1')
    with pytest.raises(CheckpointError, match='tiny-0002.params was trained with something else: seed was 0, now 1'):
        train('seed=1', AUTO)
    prefix = train('seed=1', AUTO, 'TRAIN.OVERWRITE=true')
    assert 'TRAIN.OVERWRITE: removed 7 files of an earlier run' in caplog.text
    assert states.identity_of_params(prefix + '-0001.params').settings['seed'] == 1
    assert sorted(path.name for path in (tmp_path / 'run').iterdir() if 'tiny-' in path.name) == [
        'tiny-0001.params', 'tiny-0001.states', 'tiny-curves', 'tiny-log.jsonl', 'tiny-symbol.json']
    assert [line.split(',')[0] for line in open(prefix + '-curves/train.csv')][0] == 'step'
    assert len(list(open(prefix + '-curves/train.csv'))) == 1 + len(list(open(prefix + '-log.jsonl')))
    assert load_config(str(tmp_path / 'run' / 'config.yaml')).seed == 1


@pytest.mark.parametrize('start, raised, told', [
    ('run/tiny', CheckpointError, 'tiny-0001.params: network.pretrained names a checkpoint of the run'),
    ('gone', FileNotFoundError, 'gone-0001.params: no such parameter file'),
    ('damaged', CheckpointError, 'damaged-0001.params'),
    ('other/tiny', CheckpointError, 'network.PIXEL_MEANS was')])
def test_an_earlier_run_stays_where_the_new_one_cannot_start(train, tiny_run, tmp_path, start, raised, told):
    train()
    (tmp_path / 'damaged-0001.params').write_bytes(b'cut off')
    shutil.copytree(str(tiny_run), str(tmp_path / 'other'))
    before = {path.name: path.read_bytes() for path in (tmp_path / 'run').glob('tiny-*.*')}
    with pytest.raises(raised, match=told):
        train('TRAIN.OVERWRITE=true', 'network.pretrained=%s' % (tmp_path / start), 'network.pretrained_epoch=1',
              'network.PIXEL_MEANS=[0, 0, 0]')
    assert {path.name: path.read_bytes() for path in (tmp_path / 'run').glob('tiny-*.*')} == before


def test_an_earlier_run_stays_where_the_warm_up_is_above_the_rate(train, tmp_path):
    train()
    with pytest.raises(ConfigError, match='TRAIN.warmup_lr is 0.1 and must not exceed TRAIN.lr, which is 0.01'):
        train('TRAIN.OVERWRITE=true', 'TRAIN.warmup=true', 'TRAIN.warmup_lr=0.1')
    assert (tmp_path / 'run' / 'tiny-0001.params').exists()


def test_a_run_of_another_name_does_not_replace_config_yaml(train, tmp_path):
    train()
    with pytest.raises(CheckpointError, match='run holds another run .*/tiny-.*choose another output_path'):
        train('TRAIN.model_prefix=other')
    train('TRAIN.model_prefix=other', 'TRAIN.OVERWRITE=true')
    assert (tmp_path / 'run' / 'tiny-0001.params').exists()


def test_a_run_of_another_kind_is_not_gone_on_with(train, tiny_yaml, own_tiny_voc, tmp_path):
    train()
    with pytest.raises(CheckpointError, match='is of another kind of training .end2end, and this is rpn'):
        train_rpn(load_config(tiny_yaml(own_tiny_voc), [AUTO, 'TRAIN.end_epoch=2']), tmp_path / 'run')


def test_the_best_checkpoint_has_its_states(train):
    prefix = train('TRAIN.end_epoch=2', 'dataset.val_image_set=val')
    momenta, progress, identity, _ = states.load_states(prefix + '-best.states')
    assert progress.checksum == states.checksum(*load_params(prefix + '-best.params'))
    assert momenta and identity.kind == 'end2end' and progress.epoch in (1, 2)


def test_a_set_to_validate_on_is_validated_at_the_end_of_each_epoch_or_the_log_says_that_it_is_not(train, caplog):
    prefix = train('TRAIN.end_epoch=2', 'dataset.val_image_set=val')
    assert [line['epoch'] for line in log_lines(prefix, 'val')] == [1, 2]
    train('TRAIN.OVERWRITE=true', 'dataset.val_image_set=val', 'TRAIN.EVAL_PERIOD=0')
    assert 'dataset.val_image_set is val, but it is not validated on: TRAIN.EVAL_PERIOD is 0' in caplog.text
    with pytest.raises(FileNotFoundError, match='nowhere.txt: there is no such file'):
        train('TRAIN.OVERWRITE=true', 'dataset.val_image_set=nowhere', 'TRAIN.EVAL_PERIOD=0')


def test_a_last_update_that_makes_parameters_infinite_is_an_error_and_nothing_is_written(train, tmp_path, monkeypatch):
    get_params = TrainModule.get_params

    def faulty(module):
        arg_params, aux_params = get_params(module)
        return dict(arg_params, conv1_weight=arg_params['conv1_weight'] * np.inf), aux_params
    monkeypatch.setattr(TrainModule, 'get_params', faulty)
    with pytest.raises(NonFiniteLoss, match='after 3 updates conv1_weight hold values that are not finite'):
        train()
    assert not list((tmp_path / 'run').glob('*.params')) and not list((tmp_path / 'run').glob('*.states'))


def test_a_refused_run_leaves_the_log_of_the_one_that_is_there(tiny_yaml, tmp_path):
    arguments = ['--cfg', tiny_yaml()]
    train_end2end.main(arguments)
    folder = tmp_path / 'output' / 'tiny' / 'train'
    config = (folder / 'config.yaml').read_text()
    with pytest.raises(CheckpointError, match='holds another run'):
        train_end2end.main(arguments + ['seed=1'])
    assert (folder / 'config.yaml').read_text() == config
