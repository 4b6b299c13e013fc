"""The release's YAML files mean here what ours of that name mean."""
import copy
import logging
from pathlib import Path

import pytest
import yaml

from rfcn.config import config as config_module
from rfcn.config.config import load_config
from tests.conftest import ROOT

CFGS = Path(__file__).resolve().parents[2] / 'experiments' / 'rfcn' / 'cfgs'
# Every key of the release's R-FCN files, with the values of the one for PASCAL VOC.
RELEASE_VOC = {
    'MXNET_VERSION': 'mxnet', 'output_path': './output/rfcn/voc', 'symbol': 'resnet_v1_101_rfcn', 'gpus': '0,1,2,3',
    'CLASS_AGNOSTIC': True, 'SCALES': [600, 1000],
    'default': {'frequent': 100, 'kvstore': 'device'},
    'network': {
        'pretrained': './model/pretrained_model/resnet_v1_101', 'pretrained_epoch': 0,
        'PIXEL_MEANS': [103.06, 115.90, 123.15], 'IMAGE_STRIDE': 0, 'RCNN_FEAT_STRIDE': 16, 'RPN_FEAT_STRIDE': 16,
        'FIXED_PARAMS': ['conv1', 'bn_conv1', 'res2', 'bn2', 'gamma', 'beta'],
        'FIXED_PARAMS_SHARED': ['conv1', 'bn_conv1', 'res2', 'bn2', 'res3', 'bn3', 'res4', 'bn4', 'gamma', 'beta'],
        'ANCHOR_RATIOS': [0.5, 1, 2], 'ANCHOR_SCALES': [8, 16, 32], 'NUM_ANCHORS': 9},
    'dataset': {
        'NUM_CLASSES': 21, 'dataset': 'PascalVOC', 'dataset_path': './data/VOCdevkit', 'root_path': './data',
        'image_set': '2007_trainval+2012_trainval', 'test_image_set': '2007_test', 'proposal': 'rpn'},
    'TRAIN': {
        'lr': 0.0005, 'lr_step': '4.83', 'warmup': True, 'warmup_lr': 0.00005, 'warmup_step': 1000,
        'begin_epoch': 0, 'end_epoch': 7, 'model_prefix': 'rfcn_voc', 'RESUME': False, 'FLIP': True, 'SHUFFLE': True,
        'ENABLE_OHEM': True, 'BATCH_IMAGES': 1, 'END2END': True, 'ASPECT_GROUPING': True, 'BATCH_ROIS': -1,
        'BATCH_ROIS_OHEM': 128, 'FG_FRACTION': 0.25, 'FG_THRESH': 0.5, 'BG_THRESH_HI': 0.5, 'BG_THRESH_LO': 0.0,
        'BBOX_REGRESSION_THRESH': 0.5, 'BBOX_WEIGHTS': [1.0, 1.0, 1.0, 1.0], 'RPN_BATCH_SIZE': 256,
        'RPN_FG_FRACTION': 0.5, 'RPN_POSITIVE_OVERLAP': 0.7, 'RPN_NEGATIVE_OVERLAP': 0.3,
        'RPN_CLOBBER_POSITIVES': False, 'RPN_BBOX_WEIGHTS': [1.0, 1.0, 1.0, 1.0], 'RPN_POSITIVE_WEIGHT': -1.0,
        'CXX_PROPOSAL': False, 'RPN_NMS_THRESH': 0.7, 'RPN_PRE_NMS_TOP_N': 6000, 'RPN_POST_NMS_TOP_N': 300,
        'RPN_MIN_SIZE': 0, 'BBOX_NORMALIZATION_PRECOMPUTED': True, 'BBOX_MEANS': [0.0, 0.0, 0.0, 0.0],
        'BBOX_STDS': [0.1, 0.1, 0.2, 0.2]},
    'TEST': {
        'HAS_RPN': True, 'BATCH_IMAGES': 1, 'CXX_PROPOSAL': False, 'RPN_NMS_THRESH': 0.7, 'RPN_PRE_NMS_TOP_N': 6000,
        'RPN_POST_NMS_TOP_N': 300, 'RPN_MIN_SIZE': 0, 'PROPOSAL_NMS_THRESH': 0.7, 'PROPOSAL_PRE_NMS_TOP_N': 20000,
        'PROPOSAL_POST_NMS_TOP_N': 2000, 'PROPOSAL_MIN_SIZE': 0, 'NMS': 0.3, 'test_epoch': 7},
}
COCO = {
    'output_path': './output/rfcn/coco', 'gpus': '0,1,2,3,4,5,6,7', 'network.ANCHOR_SCALES': [4, 8, 16, 32],
    'network.NUM_ANCHORS': 12, 'dataset.NUM_CLASSES': 81, 'dataset.dataset': 'coco',
    'dataset.dataset_path': './data/coco', 'dataset.image_set': 'train2014+val2014',
    'dataset.test_image_set': 'test-dev2015', 'TRAIN.lr_step': '5.333', 'TRAIN.end_epoch': 8,
    'TRAIN.model_prefix': 'rfcn_coco', 'TEST.test_epoch': 8, 'TEST.max_per_image': 100,
}
# What each file of the release has else.
RELEASE = {
    'resnet_v1_101_voc0712_rfcn_end2end_ohem': {},
    'resnet_v1_101_voc0712_rfcn_dcn_end2end_ohem': {'symbol': 'resnet_v1_101_rfcn_dcn'},
    'resnet_v1_101_coco_trainval_rfcn_end2end_ohem': COCO,
    'resnet_v1_101_coco_trainval_rfcn_dcn_end2end_ohem': dict(COCO, **{
        'symbol': 'resnet_v1_101_rfcn_dcn', 'output_path': './output/rfcn_dcn/coco',
        'TRAIN.model_prefix': 'rfcn_dcn_coco'}),
}
# Keys of TRAIN.ALTERNATE, which the release's code has and none of its files sets.
ALTERNATE = {'RPN_BATCH_IMAGES': 1, 'RCNN_BATCH_IMAGES': 2, 'rpn1_lr': 0.001, 'rpn1_lr_step': '2', 'rpn1_epoch': 3,
             'rfcn1_lr': 0.001, 'rfcn1_lr_step': '5', 'rfcn1_epoch': 8, 'rpn2_lr': 0.001, 'rpn2_lr_step': '2',
             'rpn2_epoch': 3, 'rfcn2_lr': 0.001, 'rfcn2_lr_step': '5', 'rfcn2_epoch': 8, 'rpn3_lr': 0.001,
             'rpn3_lr_step': '2', 'rpn3_epoch': 3}


def release_values(changes):
    """Nested dicts of the file for VOC with other values for some dotted keys."""
    values = copy.deepcopy(RELEASE_VOC)
    for key, value in changes.items():
        section, _, name = key.rpartition('.')
        (values[section] if section else values)[name] = value
    return values


def write_yaml(path, values):
    """The file as the release writes it: lists over several lines. Returns its path."""
    path.write_text('---\n' + yaml.safe_dump(values, default_flow_style=False, sort_keys=False))
    return path


@pytest.mark.parametrize('name', sorted(RELEASE))
def test_a_yaml_of_the_release_loads_unchanged_and_means_what_ours_of_that_name_means(name, tmp_path):
    theirs = load_config(write_yaml(tmp_path / (name + '.yaml'), release_values(RELEASE[name])))
    ours = load_config(CFGS / (name + '.yaml'))
    flat = [config_module.flatten(config) for config in (theirs, ours)]
    for config, folder in zip(flat, (tmp_path, ROOT)):  # where nothing is there, paths are relative to the file
        for key in config_module.PATH_KEYS:
            config[key] = config[key].replace(str(folder), '').replace(str(ROOT), '')
    different = {key for key in flat[0] if flat[0][key] != flat[1][key]}
    assert different <= {'output_path'}  # the folder is none of the recipe: ours keeps plain and deformable apart
    assert theirs.TRAIN.lr_step == ((5.333,) if 'coco' in name else (4.83,))


def test_the_keys_of_alternating_training_load_too(tmp_path):
    config = load_config(write_yaml(tmp_path / 'x.yaml', release_values({'TRAIN.ALTERNATE': ALTERNATE})))
    assert config.TRAIN.ALTERNATE.rfcn2_lr_step == (5.0,) and config.TRAIN.ALTERNATE.RCNN_BATCH_IMAGES == 2


def test_the_keys_without_a_meaning_are_explained_once(tmp_path, caplog):
    config_module._note_legacy.cache_clear()
    path = write_yaml(tmp_path / 'x.yaml', RELEASE_VOC)
    with caplog.at_level(logging.WARNING):
        load_config(path)
        load_config(path)
    explained = [record.getMessage().partition(' is not used: ')[0] for record in caplog.records]
    assert explained == ['MXNET_VERSION', 'TRAIN.END2END', 'TRAIN.RPN_POSITIVE_WEIGHT', 'TEST.HAS_RPN']
