"""The whole: a tiny network learns two pictures by heart, through the scripts that users call."""
import json

import cv2
import numpy as np
import pytest

from experiments.rfcn import rfcn_end2end_train_test
from rfcn import Detector, demo

TWO_PICTURES = ['dataset.image_set=val', 'dataset.test_image_set=val', 'TRAIN.end_epoch=120',
                'TRAIN.CHECKPOINT_PERIOD=120', 'TRAIN.lr=0.02', 'TRAIN.lr_step=[100]', 'TRAIN.ASPECT_GROUPING=false',
                'TRAIN.BATCH_ROIS_OHEM=16', 'network.SMALL_CHANNELS=[8, 16, 16, 32]', 'network.CONV_NEW_CHANNELS=32',
                'network.RPN_CHANNELS=32']


@pytest.mark.parametrize('overrides', [
    [],
    ['TRAIN.CXX_PROPOSAL=true', 'TEST.CXX_PROPOSAL=true', 'CLASS_AGNOSTIC=false', 'TRAIN.ENABLE_OHEM=false',
     'TRAIN.BATCH_ROIS=32'],
], ids=['agnostic, OHEM, Python proposals', 'class-specific, sampled RoIs, native proposals'])
def test_two_pictures_are_learned_by_heart_within_a_minute(tiny_yaml, tiny_voc, tmp_path, capsys, overrides):
    rfcn_end2end_train_test.main(['--cfg', tiny_yaml()] + TWO_PICTURES + overrides)
    run = tmp_path / 'output' / 'tiny' / 'val'
    lines = [json.loads(line) for line in open(str(run / 'tiny-log.jsonl'))]
    for loss in 'RPNLogLoss', 'RCNNLogLoss':
        losses = [line[loss] for line in lines]
        assert np.mean(losses[-10:]) < 0.3 * np.mean(losses[:10])
    mean, = [line for line in capsys.readouterr().out.splitlines() if line.startswith('mean  ')]
    assert float(mean.split()[2]) > 0.9  # at IoU 0.5

    params, pictures = str(run / 'tiny-0120.params'), tiny_voc / 'JPEGImages'
    best = Detector(str(run / 'config.yaml'), params).detect(pictures / 'high2.jpg')[0]
    assert best.class_name == 'blue' and best.score > 0.5
    assert np.abs(best.box - [8, 32, 55, 79]).max() < 12  # (9, 33, 56, 80) in the annotation, counted from 1
    demo.main(['--cfg', str(run / 'config.yaml'), '--params', params, '--image', str(pictures / 'wide1.jpg'),
               '--out', str(tmp_path)])
    assert np.any(cv2.imread(str(tmp_path / 'wide1.png')) != cv2.imread(str(pictures / 'wide1.jpg')))
