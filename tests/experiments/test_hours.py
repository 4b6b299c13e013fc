"""Hours that rows take: images of the schedule times seconds of an image."""
import pytest

from experiments import reproduce
from experiments.rows import hours
from experiments.rows.table import find_row
from rfcn.checkpoints.pretrained import init_params

SMALL = ['symbol=small_rfcn', 'SCALES=[64, 96]', 'network.ANCHOR_SCALES=[1, 2, 4]', 'network.POOLED_SIZE=3',
         'network.CONV_NEW_CHANNELS=16', 'network.RPN_CHANNELS=16', 'network.SMALL_CHANNELS=[4, 8, 8, 16]',
         'network.SMALL_BLOCKS=1', 'network.FIXED_PARAMS=[]', 'TEST.PROPOSAL_POST_NMS_TOP_N=16',
         'TEST.RPN_POST_NMS_TOP_N=16', 'TEST.RPN_PRE_NMS_TOP_N=50', 'TRAIN.RPN_PRE_NMS_TOP_N=50',
         'TRAIN.RPN_POST_NMS_TOP_N=16']


def test_each_image_of_the_schedule_counts():
    row = find_row('resnet_v1_101_voc0712_rfcn_end2end_ohem')
    found = hours.hours(row, hours.given_seconds(3.6, 0.36))
    # 8276 updates of 4 images in each of 7 epochs; 4952 test images
    assert found.images == 7 * 8276 * 4 and found.tests == 4952
    assert found.training == {'as given': pytest.approx(231.728)}
    assert found.testing == {'as given': pytest.approx(0.4952)}


def test_scales_count_by_their_pixels_and_proposals_of_two_rpns_are_made():
    plain, multi = (hours.hours(find_row(name), hours.given_seconds(3600, 0)).training['as given']
                    for name in ('paper_voc07_rfcn_ohem300', 'paper_voc07_rfcn_multiscale'))
    assert plain == 640000  # images of the four steps
    pixels = (400 * 667 + 500 * 833 + 600 * 1000 + 700 * 1167 + 800 * 1333) / 5 / 600000
    assert multi == pytest.approx(640000 * pixels)
    proposing = hours.hours(find_row('paper_voc07_rfcn'), hours.given_seconds(0, 3600))
    assert proposing.training['as given'] == 2 * 16551


def test_a_row_that_only_tests_counts_all_its_views():
    found = hours.hours(find_row('paper_coco_testdev_rfcn_multiscale_testing'), hours.given_seconds(1, 3600))
    views = sum(short * long for short, long in ((600, 1000), (200, 333), (400, 667), (800, 1333), (1000, 1667)))
    assert found.images == 0 and found.training == {}
    assert found.testing['as given'] == pytest.approx(20288 * views / 600000)


@pytest.mark.parametrize('name', ['resnet_v1_101_voc0712_rfcn_end2end_ohem', 'paper_voc07_rfcn',
                                  'paper_voc07_rfcn_selective_search', 'paper_voc07_class_rpn'])
def test_every_kind_of_row_can_be_measured(name, monkeypatch):
    monkeypatch.setattr(hours, 'random_params', lambda symbol, shapes: init_params(symbol, shapes)[:2])
    monkeypatch.setattr(hours, 'has_bf16', lambda: False)
    overrides = [word.replace('small_rfcn', 'small_class_rpn') if 'class' in name else word for word in SMALL]
    found = hours.hours(find_row(name), hours.MeasuredSeconds(), overrides)
    assert found.training['fp32'] > 0 and found.testing['fp32'] > 0
    assert ('INT8' in found.testing) == ('selective' not in name)


def test_equal_graphs_are_measured_once(monkeypatch, tiny_cfg):
    calls = []
    monkeypatch.setattr(hours, 'measured', lambda run: calls.append(run) or 1.0)
    monkeypatch.setattr(hours, 'tester', lambda symbol, batch, precision: None)
    stopwatch = hours.MeasuredSeconds()
    for overrides in ([], ['TRAIN.lr=0.5'], ['TEST.RPN_POST_NMS_TOP_N=5']):
        stopwatch(tiny_cfg(*overrides), hours.WHOLE, False, hours.FP32)
    assert len(calls) == 2


def test_the_command_prints_hours_here_and_on_several_hosts(capsys):
    assert reproduce.main(['--cost', 'paper_voc07_rfcn', '--seconds-per-step', '2', '--hosts', '1', '10']) == 0
    one, ten = capsys.readouterr().out.splitlines()[1:]
    # 640,000 steps of 2 s, 33,102 proposals and 4,952 tests of a third of that
    assert one.split() == ['paper_voc07_rfcn', '1', 'train', 'as', 'given', '361.7', 'test', 'as', 'given', '0.9']
    assert ten.split()[5] == '36.2'
    assert reproduce.main(['--cost', 'bccd_resnet50', '--seconds-per-step', '2', 'dataset.dataset_path=/nowhere']) == 0
    assert 'there is no' in capsys.readouterr().out


@pytest.mark.parametrize('words', ['--hosts 0', '--hosts 1 -1', '--seconds-per-step 0', '--seconds-per-image nan'])
def test_machines_and_seconds_that_cannot_be_are_refused(words, capsys):
    with pytest.raises(SystemExit):
        reproduce.main(['--cost', 'paper_voc07_rfcn', '--seconds-per-step', '2'] + words.split())
    assert 'expected a' in capsys.readouterr().err
