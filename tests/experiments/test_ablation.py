"""The mini ablation: what each variant changes, and what is said of the results."""
import json

import numpy as np
import pytest

from experiments import ablation
from experiments.demo.make_dataset import make_dataset
from lib.errors import UserError
from rfcn.symbols import make_symbol

NOTE = {'epochs': 1, 'test images': 2}


def result(variant, seed, value):
    return {'variant': variant, 'seed': seed, 'mAP@0.5': value, 'mAP@0.7': value / 2}


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Folder of a few pictures of the demo."""
    folder = tmp_path_factory.mktemp('ablation') / 'data'
    make_dataset(folder, train=12, val=1, test=1)
    return folder


@pytest.mark.parametrize('variant', ablation.VARIANTS)
def test_a_variant_is_the_demo_but_for_one_thing(variant, data):
    base, cfg = [ablation.variant_config(name, 1, 4, data) for name in (ablation.BASE, variant)]
    assert (cfg.seed, cfg.TRAIN.end_epoch, cfg.TRAIN.lr_step, cfg.TRAIN.lr) == (1, 4, (3.0,), base.TRAIN.lr)
    assert (cfg == base) == (variant == ablation.BASE)
    # 64 RoIs of each of four images
    assert cfg.TRAIN.BATCH_ROIS == (-1 if cfg.TRAIN.ENABLE_OHEM else 256)
    assert len(cfg.dataset.CLASSES) == 7 and make_symbol(cfg).get_symbol(is_train=True).list_outputs()


def test_means_spreads_and_differences_are_those_of_the_seeds():
    results = [result(ablation.BASE, seed, value) for seed, value in enumerate((0.70, 0.72, 0.74))]
    results += [result('k = 1', seed, value) for seed, value in enumerate((0.60, 0.62, 0.66))]
    text = ablation.as_markdown(results, NOTE)
    # base 72 +- 2; k = 1: (60 + 62 + 66) / 3 = 62.7, std sqrt((7.1 + 0.4 + 11.1) / 2) = 3.1; gains 10, 10, 8
    assert '| R-FCN, k = 3, a trous, OHEM | 72.0 ± 2.0 | 36.0 ± 1.0 |  |' in text
    assert '| k = 1 | 62.7 ± 3.1 | 31.3 ± 1.5 | +9.3 ± 1.2 | fails -> 75.5 |' in text
    assert 'It cannot show' in text and '3 seeds' in text


def test_a_difference_within_the_noise_is_called_that():
    noisy = ablation.difference(np.array([70.0, 72.0, 71.0]), np.array([71.0, 70.0, 71.5]))
    assert noisy.endswith(', within the noise')
    assert ablation.difference(np.array([70.0]), np.array([60.0])) == '-'


def test_runs_that_are_there_are_not_repeated(monkeypatch, tmp_path):
    import cv2
    done = []

    def fake_run(variant, seed, cfg, folder):
        done.append((variant, seed))
        return result(variant, seed, 0.5 + 0.01 * seed)
    monkeypatch.setattr(ablation, 'run', fake_run)
    arguments = ['--epochs', '1', '--images', '7', '--test_images', '1', '--out', str(tmp_path)]
    ablation.main(arguments + ['--seeds', '1'])
    assert done == [(variant, 0) for variant in ablation.VARIANTS]
    ablation.main(arguments + ['--seeds', '2'])
    assert done[len(ablation.VARIANTS):] == [(variant, 1) for variant in ablation.VARIANTS]
    assert len(json.loads((tmp_path / 'results.json').read_text())['results']) == 2 * len(ablation.VARIANTS)
    assert '50.5 ± 0.7' in (tmp_path / 'ablation.md').read_text()
    assert cv2.imread(str(tmp_path / 'ablation.png')) is not None
    ablation.main(arguments + ['--seeds', '1', 'TRAIN.lr=0.02'])  # other settings
    assert len(done) == 3 * len(ablation.VARIANTS)


def test_a_variant_is_trained_and_tested(tmp_path):
    ablation.main(['--epochs', '1', '--images', '8', '--test_images', '2', '--seeds', '1', '--out', str(tmp_path),
                   'network.SMALL_CHANNELS=[4, 8, 8, 16]', 'network.SMALL_BLOCKS=1'])
    results = json.loads((tmp_path / 'results.json').read_text())['results']
    assert len(results) == len(ablation.VARIANTS) and all(0 <= found['mAP@0.5'] <= 1 for found in results)


def test_some_variants_can_be_chosen_beside_the_base():
    assert [name for _, name in ablation.chosen('bf16')] == [ablation.BASE, 'bf16 convolutions']
    assert [name for _, name in ablation.chosen('')] == list(ablation.VARIANTS)
    with pytest.raises(UserError, match="no variant has 'fp16' in its name; there are: k = 1; conv5 at stride 32"):
        ablation.chosen('fp16')
