"""Smoke tests of the rows: the data and weights that they make, and that a row of each kind runs."""
import json
import signal
import subprocess
import sys

import numpy as np
import pytest

from experiments import reproduce
from experiments.rows import smoke, smoke_data
from experiments.rows.table import ROOT, ROWS, find_row
from lib.dataset import make_dataset
from lib.dataset.proposals import load_proposals
from rfcn import data_sets
from rfcn.checkpoints import checkpoint
from rfcn.config.config import load_config
from rfcn.launching.agent import PRCTL


def configured(name, folder, *overrides):
    """The configuration of a row on rendered data in a folder."""
    cfg = load_config(find_row(name).cfg_path, ['dataset.dataset_path=%s' % folder] + list(overrides))
    smoke_data.make_data(cfg, folder)
    return cfg


def test_rendered_voc_data_have_the_layout_of_the_devkit(tmp_path):
    cfg = configured('paper_voc07_rfcn', tmp_path)
    trained, tested = [data_sets.datasets(cfg, sets) for sets in (cfg.dataset.image_set, cfg.dataset.test_image_set)]
    assert [imdb.name for imdb in trained + tested] == ['VOC2007_trainval', 'VOC2012_trainval', 'VOC2007_test']
    assert tested[0].num_images == 4 and all(len(entry['boxes']) for entry in tested[0].gt_roidb())


def test_the_test_images_of_voc12_have_no_annotations_and_are_tested_all_the_same(tmp_path):
    imdb, = data_sets.datasets(configured('paper_voc12_rfcn_multiscale', tmp_path), '2012_test')
    entries = imdb.gt_roidb()
    assert [len(entry['boxes']) for entry in entries] == [0] * 4 and entries[0]['width'] == smoke_data.SIDE
    evaluation = imdb.evaluate_detections([[np.zeros((0, 5))] * 4] * 21, str(tmp_path))
    assert evaluation.metrics == {} and 'nothing was evaluated' in evaluation.table
    assert len(list((tmp_path / 'results' / 'VOC2012' / 'Main').iterdir())) == 20


def test_rendered_coco_data_have_its_layout(tmp_path):
    classes = 'dataset.CLASSES=%s' % json.dumps(['c%d' % number for number in range(80)])
    cfg = configured('paper_coco_testdev_rfcn_multiscale', tmp_path, classes)
    trained = make_dataset('coco', 'train2014', str(tmp_path))
    assert trained.num_classes == 81 and all(len(entry['boxes']) for entry in trained.gt_roidb())
    assert list(trained.category_ids.values())[8:11] == [9, 11, 12]  # with gaps
    tested, = data_sets.datasets(cfg, 'test-dev2015')
    assert not any(len(entry['boxes']) for entry in tested.gt_roidb())


def test_random_weights_let_signals_through(tmp_path):
    args, _ = checkpoint.load_params(checkpoint.params_path(str(smoke_data.random_weights(18, tmp_path / 'random')), 0))
    assert args['bn2a_branch2b_gamma'].asnumpy().max() == pytest.approx(0.2)
    assert args['bn2a_branch2a_gamma'].asnumpy().min() == 1


def test_random_proposals_find_the_objects(tmp_path):
    cfg = configured('paper_voc07_rfcn_edgeboxes', tmp_path)
    smoke_data.write_proposals(cfg, tmp_path / 'proposals')
    dets, = load_proposals(str(tmp_path / 'proposals' / 'VOC2007_trainval.npz'), ['2007_trainval_0000'])
    assert dets.shape == (60, 5) and dets[:, :4].min() >= 0 and dets[:, 2:4].max() <= smoke_data.SIDE - 1


def test_pictures_and_anchors_shrink_by_the_same_factor(tmp_path):
    row = find_row('paper_coco_testdev_rfcn_multiscale_testing')
    cfg = load_config(row.cfg_path, smoke.overrides_of(load_config(row.cfg_path), tmp_path))
    assert cfg.TEST.SCALES[0] == (160, 267) and cfg.SCALES[-1] == (213, 355)
    assert cfg.network.ANCHOR_SCALES == tuple(round(scale * 160 / 600, 3) for scale in (4, 8, 16, 32))
    assert cfg.gpus == '' and cfg.TRAIN.ALTERNATE.rpn1_epoch == 1
    row = find_row('demo')
    assert load_config(row.cfg_path, smoke.overrides_of(load_config(row.cfg_path), tmp_path)).SCALES == ((160, 160),)


def test_a_row_starts_from_the_weights_or_the_network_of_the_smoke_test(tmp_path):
    trunk, coco = [smoke.overrides_of(load_config(find_row(name).cfg_path), tmp_path)
                   for name in ('paper_voc07_rfcn', 'paper_voc07_rfcn_coco')]
    assert 'network.pretrained=%s' % (tmp_path / 'weights' / 'random') in trunk
    before = find_row('paper_voc07_rfcn_coco').starts_from
    assert 'network.pretrained=%s' % (tmp_path / 'output' / before / 'train2014+val2014' / 'final') in coco
    demo = smoke.overrides_of(load_config(find_row('demo').cfg_path), tmp_path)
    assert not any(text.startswith('network.pretrained') for text in demo)


def test_a_row_that_fails_is_named_and_the_others_go_on(monkeypatch, tmp_path, capsys):
    done = smoke.Smoke('demo', 4, '2.00 -> 1.00', 12, 3.0, 1e9, 1000000, 5.0, 2e9)
    monkeypatch.setattr(smoke, 'smoke_apart', lambda row, folder: None if row.name == 'bccd_resnet50' else done)
    assert reproduce.smoke_rows([find_row('bccd_resnet50'), find_row('demo')], tmp_path) == ['bccd_resnet50']
    printed = capsys.readouterr().out
    assert 'bccd_resnet50' in printed and 'FAILED, see' in printed and '2.00 -> 1.00; 12' in printed


def test_losses_that_are_not_finite_fail(tmp_path):
    (tmp_path / 'x-log.jsonl').write_text('{"type": "train", "RPNLogLoss": NaN}\n')
    with pytest.raises(AssertionError):
        smoke.training_record(tmp_path)
    with pytest.raises(AssertionError, match='nothing was trained'):
        smoke.training_record(tmp_path / 'none')


@pytest.mark.skipif(PRCTL is None, reason='of Linux')
def test_a_smoke_test_whose_parent_has_ended_is_killed(tmp_path):
    with subprocess.Popen(['sleep', '60']) as other:
        command = [sys.executable, '-m', 'experiments.rows.smoke', 'demo', str(tmp_path), str(tmp_path / 'outcome')]
        status = subprocess.call(command + [str(other.pid)], cwd=str(ROOT))
        other.kill()
    assert status == -signal.SIGKILL and not any(tmp_path.iterdir())


@pytest.mark.parametrize('name', ['demo', 'demo_alternate'])
def test_a_small_row_runs(name, tmp_path):
    found = smoke.smoke_apart(find_row(name), tmp_path)
    assert found, (tmp_path / 'smoke.log').read_text()[-2000:]
    assert found.steps >= 2 and found.detections > 0


@pytest.mark.slow
@pytest.mark.parametrize('row', [row for row in ROWS if not row.name.startswith('demo')], ids=lambda row: row.name)
def test_every_row_runs(row, tmp_path):
    found = smoke.smoke_apart(row, tmp_path)
    assert found, (tmp_path / 'smoke.log').read_text()[-2000:]
    assert found.steps >= 4 and found.detections > 0
