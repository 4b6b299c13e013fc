"""The mini ablation: what each variant changes, and what is said of the results."""
import json
import os
import threading

import cv2
import numpy as np
import pytest

from experiments import ablation, studies
from experiments.studies import STUDIES
from lib.errors import UserError
from rfcn.symbols import make_symbol
from tests.experiments.test_memory import check_child_ends_with_parent

NOTE = {'epochs': 1, 'test images': 2}
DEMO = STUDIES['demo']


def result(variant, seed, value, **more):
    return {'variant': variant, 'seed': seed, 'mAP@0.5': value, 'mAP@0.7': value / 2, **more}


@pytest.mark.parametrize('study, variant', [(name, variant) for name in STUDIES for variant in STUDIES[name].variants])
def test_a_variant_is_the_base_but_for_one_thing(study, variant):
    study, overrides = STUDIES[study], ['dataset.CLASSES=[cat,dog]']
    base, cfg = [ablation.variant_config(study, name, 1, 4, overrides) for name in (study.base, variant)]
    assert (cfg.seed, cfg.TRAIN.end_epoch, cfg.TRAIN.lr_step, cfg.TRAIN.lr) == (1, 4, (3.0,), base.TRAIN.lr)
    assert (cfg == base) == (variant == study.base)
    kept = base.TRAIN.BATCH_ROIS_OHEM * base.TRAIN.BATCH_IMAGES    # without OHEM as many RoIs train
    assert cfg.TRAIN.BATCH_ROIS == (-1 if cfg.TRAIN.ENABLE_OHEM else kept)
    assert make_symbol(cfg).get_symbol(is_train=True).list_outputs()
    assert set(study.paper) < set(study.variants)


def test_means_spreads_and_differences_are_those_of_the_seeds():
    results = [result(DEMO.base, seed, value, peak_mb=500 + seed) for seed, value in enumerate((0.70, 0.72, 0.74))]
    results += [result('k = 1', seed, value) for seed, value in enumerate((0.60, 0.62, 0.66))]
    results[3:] = results[:2:-1]     # runs at once end in any order
    text = studies.as_markdown(DEMO, results, NOTE)
    # base 72 +- 2; k = 1: (60 + 62 + 66) / 3 = 62.7, std sqrt((7.1 + 0.4 + 11.1) / 2) = 3.1; gains 10, 10, 8
    assert '| R-FCN, k = 3, a trous, OHEM | 72.0 ± 2.0 | 36.0 ± 1.0 |  |  | 500 |' in text
    assert '| k = 1 | 62.7 ± 3.1 | 31.3 ± 1.5 | +9.3 ± 1.2 | fails -> 75.5 |  |' in text
    assert 'It cannot show' in text and '3 seeds' in text


def test_a_difference_within_the_noise_is_called_that():
    noisy = studies.difference(np.array([70.0, 72.0, 71.0]), np.array([71.0, 70.0, 71.5]))
    assert noisy.endswith(', within the noise')
    assert studies.difference(np.array([70.0]), np.array([60.0])) == '+10.0, one seed'


def test_runs_that_are_there_are_not_repeated(monkeypatch, tmp_path):
    done = []

    def fake_run(cfg, folder, params):
        done.append(folder.name)
        return {'mAP@0.5': 0.5 + 0.01 * cfg.seed, 'mAP@0.7': 0.2, 'params': 'x', 'peak_mb': 1.0, 'train_s': 0.1}
    monkeypatch.setattr(ablation, 'run_apart', fake_run)
    arguments = ['--epochs', '1', '--images', '7', '--test_images', '1', '--out', str(tmp_path)]
    ablation.main(arguments + ['--seeds', '1'])
    count = len(DEMO.variants)
    assert done == ['%d_seed0' % number for number in range(count)]
    ablation.main(arguments + ['--seeds', '2'])
    assert done[count:] == ['%d_seed1' % number for number in range(count)]
    assert len(json.loads((tmp_path / 'results.json').read_text())['results']) == 2 * count
    assert '50.5 ± 0.7' in (tmp_path / 'ablation.md').read_text()
    assert cv2.imread(str(tmp_path / 'ablation.png')) is not None
    before = (tmp_path / 'results.json').read_bytes()
    with pytest.raises(UserError, match=r'results.json: .* another kind \(overrides none\): give another folder with'):
        ablation.main(arguments + ['--seeds', '1', 'TRAIN.lr=0.02'])
    assert len(done) == 2 * count and (tmp_path / 'results.json').read_bytes() == before


APART = """
def run():
    import time
    print('begun', flush=True)
    time.sleep(60)
if __name__ == '__main__':
    import rfcn
    from experiments import ablation
    ablation.run = run
    ablation.run_apart()
"""


def test_a_run_ends_with_an_ablation_that_is_killed(tmp_path):
    check_child_ends_with_parent(tmp_path, APART)


def test_runs_at_once_share_the_cores_and_none_begins_after_a_failure(monkeypatch, tmp_path):
    begun, both = [], threading.Barrier(2, timeout=20)

    def fake_run(cfg, folder, params):
        begun.append((folder.name, os.environ['OMP_NUM_THREADS']))
        both.wait()
        raise UserError('%s: no space left' % folder.name)
    for name in ablation.THREADS:
        monkeypatch.setenv(name, 'of this test')    # so that it is put back
        monkeypatch.delenv(name)
    monkeypatch.setattr(ablation, 'run_apart', fake_run)
    monkeypatch.setattr(ablation, 'cores', lambda: 8)
    with pytest.raises(UserError, match='no space left'):
        ablation.main(['--images', '7', '--test_images', '1', '--out', str(tmp_path), '--jobs', '2', '--seeds', '1'])
    assert sorted(begun) == [('0_seed0', '4'), ('1_seed0', '4')]


def test_what_differs_in_testing_alone_tests_the_network_of_the_base():
    photographs = STUDIES['voc2012_animals']
    assert ablation.trained_as(photographs, '2000 RoIs in testing') == photographs.base
    assert ablation.trained_as(photographs, 'k = 3') == 'k = 3'


def test_a_variant_is_trained_tested_and_timed(tmp_path):
    ablation.main(['--epochs', '1', '--images', '8', '--test_images', '2', '--seeds', '1', '--out', str(tmp_path),
                   '--time', '1', '--only', 'k = 1', 'network.SMALL_CHANNELS=[4, 8, 8, 16]', 'network.SMALL_BLOCKS=1'])
    results = json.loads((tmp_path / 'results.json').read_text())['results']
    assert [found['variant'] for found in results] == [DEMO.base, 'k = 1']
    assert all(0 <= found['mAP@0.5'] <= 1 and found['peak_mb'] > 100 and found['train_s'] > 0 for found in results)
    text = (tmp_path / 'ablation.md').read_text()
    assert 'test, s per image' in text and 'One seed: no spread is known' in text
    assert cv2.imread(str(tmp_path / 'ablation.png')).shape[1] == 1760     # two panels and the names


def test_some_variants_can_be_chosen_beside_the_base():
    assert [name for _, name in ablation.chosen(DEMO, ['bf16'])] == [DEMO.base, 'bf16 convolutions']
    assert [name for _, name in ablation.chosen(DEMO, [])] == list(DEMO.variants)
    assert [number for number, _ in ablation.chosen(DEMO, ['naive', 'k = 1'])] == [0, 1, 4]
    with pytest.raises(UserError, match="no variant has 'fp16' in its name; there are: k = 1; conv5 at stride 32"):
        ablation.chosen(DEMO, ['k = 1', 'fp16'])


def test_photographs_that_are_not_there_are_asked_for(tmp_path):
    with pytest.raises(UserError, match='no_such: there is nothing; name the place with --data_path'):
        ablation.main(['--data', 'voc2012_animals', '--data_path', str(tmp_path / 'no_such'), '--out', str(tmp_path)])


@pytest.mark.parametrize('data, words', [('demo', ['--weights', 'model/resnet_v1_50-0000.params']),
                                         ('voc2012_animals', ['--images', '7'])])
def test_options_of_the_other_kind_of_data_are_refused(data, words, tmp_path):
    with pytest.raises(UserError, match='%s is not for --data %s: leave it out' % (words[0], data)):
        ablation.main(['--data', data, '--out', str(tmp_path), *words])
