"""Files that the release wrote work here, and ours work without this project: YAML, checkpoints, detections."""
import copy
import json
import logging
import pickle
import subprocess
import sys
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest
import yaml

from lib.errors import CheckpointError
from lib.utils.safe_load import load_pickle
from rfcn import inference, train_end2end
from rfcn.checkpoints import checkpoint
from rfcn.config import config as config_module
from rfcn.config.config import load_config
from rfcn.core.detect import save_detections
from rfcn.symbols import make_symbol
from tests.conftest import ROOT, numpy_names

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


def release_parameters(num_classes, num_anchors, deformable):
    """Name -> shape of every parameter in a checkpoint of the release, written down from its naming."""
    shapes = {'conv1_weight': (64, 3, 7, 7), 'rpn_conv_3x3_weight': (512, 1024, 3, 3), 'rpn_conv_3x3_bias': (512,),
              'conv_new_1_weight': (1024, 2048, 1, 1), 'conv_new_1_bias': (1024,)}
    heads = {'rpn_cls_score': (2 * num_anchors, 512), 'rpn_bbox_pred': (4 * num_anchors, 512),
             'rfcn_cls': (49 * num_classes, 1024), 'rfcn_bbox': (49 * 4 * 2, 1024)}
    if deformable:
        heads.update(rfcn_cls_offset_t=(49 * 2 * num_classes, 1024), rfcn_bbox_offset_t=(49 * 2, 1024))
    for name, (outputs, inputs) in heads.items():
        shapes.update({name + '_weight': (outputs, inputs, 1, 1), name + '_bias': (outputs,)})
    norms, inputs = {'bn_conv1': 64}, 64
    units = {2: 'abc', 3: ['a', 'b1', 'b2', 'b3'], 4: ['a'] + ['b%d' % i for i in range(1, 23)], 5: 'abc'}
    for stage, letters in units.items():
        width = 64 * 2 ** (stage - 2)
        for letter in letters:
            unit = '%d%s_branch' % (stage, letter)
            branches = {'2a': (width, inputs, 1), '2b': (width, width, 3), '2c': (4 * width, width, 1)}
            if letter == 'a':
                branches['1'] = (4 * width, inputs, 1)
            for branch, (outputs, channels, kernel) in branches.items():
                shapes['res%s%s_weight' % (unit, branch)] = (outputs, channels, kernel, kernel)
                norms['bn%s%s' % (unit, branch)] = outputs
            if deformable and stage == 5:  # 2 numbers for each of 9 points and 4 groups
                shapes['res%s2b_offset_weight' % unit], shapes['res%s2b_offset_bias' % unit] = (72, width, 3, 3), (72,)
            inputs = 4 * width
    for name, channels in norms.items():
        shapes.update({name + end: (channels,) for end in ('_gamma', '_beta', '_moving_mean', '_moving_var')})
    return shapes


class Shaped:
    """Stands for an array of which only the shape is asked for."""

    def __init__(self, shape):
        self.shape = shape


@pytest.mark.parametrize('name, num_classes, num_anchors, deformable', [
    ('resnet_v1_101_voc0712_rfcn_end2end_ohem', 21, 9, False),
    ('resnet_v1_101_coco_trainval_rfcn_end2end_ohem', 81, 12, False),
    ('resnet_v1_101_voc0712_rfcn_dcn_end2end_ohem', 21, 9, True)])
def test_a_checkpoint_of_the_release_has_just_the_parameters_that_our_graphs_need(
        name, num_classes, num_anchors, deformable, caplog):
    cfg = load_config(CFGS / (name + '.yaml'))
    params = {key: Shaped(shape) for key, shape in release_parameters(num_classes, num_anchors, deformable).items()}
    arg_params = {key: value for key, value in params.items() if '_moving_' not in key}
    aux_params = {key: value for key, value in params.items() if '_moving_' in key}
    height, width = 10, 14
    testing = {'data': (1, 3, 160, 224), 'im_info': (1, 3)}
    training = dict(testing, gt_boxes=(1, 3, 5), label=(1, num_anchors * height * width),
                    bbox_target=(1, 4 * num_anchors, height, width), bbox_weight=(1, 4 * num_anchors, height, width))
    with caplog.at_level(logging.INFO):
        for is_train, inputs in ((False, testing), (True, training)):
            checkpoint.check_params(make_symbol(cfg).get_symbol(is_train), inputs, arg_params, aux_params, name)
    assert not caplog.records  # nothing superfluous either


@pytest.fixture
def release_checkpoint(tiny_run, tmp_path):
    """A function (name=array, or name=None to leave it out) -> prefix of a checkpoint as the release writes it.

    Of epoch 1: names with arg: and aux:, fc1000 left over from the classification network, a pickled optimizer.
    """
    def write(**changes):
        arrays = mx.nd.load(str(tiny_run / 'tiny-0001.params'))
        arrays.update({'arg:fc1000_weight': mx.nd.zeros((1000, 16)), 'arg:fc1000_bias': mx.nd.zeros((1000,))})
        for name, value in changes.items():
            arrays.pop('arg:' + name) if value is None else arrays.update({'arg:' + name: value})
        prefix = tmp_path / 'tiny'
        mx.nd.save('%s-0001.params' % prefix, arrays)
        Path('%s-0001.states' % prefix).write_bytes(pickle.dumps({0: np.zeros(3), 1: None}, protocol=2))
        return str(prefix)
    return write


def loaded(cfg, prefix):
    """arg_params of the network for testing."""
    return inference.predictor(cfg, checkpoint.params_path(prefix, 1)).params[0]


def test_testing_takes_the_box_weights_for_testing(release_checkpoint, tiny_cfg):
    arrays = mx.nd.load(checkpoint.params_path(release_checkpoint(), 1))
    weight, test_weight = arrays['arg:rfcn_bbox_weight'].asnumpy(), arrays['arg:rfcn_bbox_weight_test'].asnumpy()
    assert not np.allclose(weight, test_weight)
    params = loaded(tiny_cfg(), release_checkpoint())
    assert (params['rfcn_bbox_weight'].asnumpy() == test_weight).all() and 'rfcn_bbox_weight_test' not in params


def test_testing_takes_the_plain_box_weights_where_there_are_no_others(release_checkpoint, tiny_cfg):
    prefix = release_checkpoint(rfcn_bbox_weight_test=None, rfcn_bbox_bias_test=None)
    plain = mx.nd.load(checkpoint.params_path(prefix, 1))['arg:rfcn_bbox_weight'].asnumpy()
    assert (loaded(tiny_cfg(), prefix)['rfcn_bbox_weight'].asnumpy() == plain).all()


def test_box_weights_that_may_be_normalised_are_warned_of(release_checkpoint, tiny_cfg, caplog):
    def warnings(prefix, *overrides):
        caplog.clear()
        loaded(tiny_cfg(*overrides), prefix)
        return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    prefix = release_checkpoint(rfcn_bbox_weight_test=None, rfcn_bbox_bias_test=None)
    message, = warnings(prefix)
    assert message.startswith(prefix) and 'has no rfcn_bbox_weight_test: the box layer is used as it is' in message
    assert warnings(prefix, 'TRAIN.BBOX_NORMALIZATION_PRECOMPUTED=false') == warnings(release_checkpoint()) == []


def test_superfluous_parameters_are_reported_and_ignored(release_checkpoint, tiny_cfg, caplog):
    with caplog.at_level(logging.INFO):
        loaded(tiny_cfg(), release_checkpoint())
    message, = [record.getMessage() for record in caplog.records if 'ignored' in record.getMessage()]
    assert 'ignored 2 parameters that the network does not have: fc1000_bias, fc1000_weight' in message


def test_missing_and_misshapen_parameters_are_listed_in_one_error(release_checkpoint, tiny_cfg):
    prefix = release_checkpoint(conv1_weight=mx.nd.zeros((64, 3, 7, 7)), rpn_cls_score_bias=None, rfcn_cls_weight=None)
    with pytest.raises(CheckpointError) as error:
        loaded(tiny_cfg(), prefix)
    message = str(error.value)
    assert prefix in message and '(3 parameters)' in message
    for fault in ('conv1_weight has shape (64, 3, 7, 7), (4, 3, 3, 3) expected', 'rpn_cls_score_bias is missing',
                  'rfcn_cls_weight is missing'):
        assert fault in message


def test_training_resumes_from_a_checkpoint_of_the_release(release_checkpoint, tiny_cfg, tmp_path, caplog):
    prefix = release_checkpoint()
    start = mx.nd.load(prefix + '-0001.params')
    cfg = tiny_cfg('TRAIN.RESUME=true', 'TRAIN.begin_epoch=1', 'TRAIN.end_epoch=2', 'TRAIN.lr=0.0')
    with caplog.at_level(logging.WARNING):
        train_end2end.train_net(cfg, tmp_path)
    assert any('resumed without momentum' in record.getMessage() for record in caplog.records)  # theirs is a pickle
    arrays = mx.nd.load(prefix + '-0002.params')
    # At a rate of 0 the normalised weights stay what they were: those for testing were not taken for them.
    assert (arrays['arg:rfcn_bbox_weight'].asnumpy() == start['arg:rfcn_bbox_weight'].asnumpy()).all()
    weights = [params['arg:rfcn_bbox_weight_test'].asnumpy() for params in (arrays, start)]
    np.testing.assert_allclose(*weights)


# Plain MXNet, as a user without this project would write it. The first lines stand in for an older NumPy.
PLAIN_MXNET = '''
import sys
import mxnet as mx
symbol, arg_params, aux_params = mx.model.load_checkpoint(sys.argv[1], 1)
inputs = np.load(sys.argv[2])
module = mx.mod.Module(symbol, data_names=['data', 'im_info'], label_names=None)
module.bind([(name, inputs[name].shape) for name in ('data', 'im_info')], for_training=False)
for name in ('rfcn_bbox_weight', 'rfcn_bbox_bias'):
    arg_params[name] = arg_params[name + '_test']
module.set_params(arg_params, aux_params, allow_extra=True)
module.forward(mx.io.DataBatch([mx.nd.array(inputs[name]) for name in ('data', 'im_info')]), is_train=False)
np.savez(sys.argv[3], *[output.asnumpy() for output in module.get_outputs()])
print(symbol.list_outputs())
assert not [name for name in sys.modules if name.split('.')[0] in ('rfcn', 'lib')]
'''


def test_plain_mxnet_runs_what_training_wrote_where_the_graph_has_no_python_operator(tiny_cfg, tmp_path):
    cfg = tiny_cfg('TEST.CXX_PROPOSAL=true', 'TEST.BATCH_IMAGES=1', 'TRAIN.end_epoch=1')
    prefix = train_end2end.train_net(cfg, tmp_path)
    operators = {node['op'] for node in json.loads(Path(prefix + '-symbol.json').read_text())['nodes']}
    assert 'Custom' not in operators
    inputs = {'data': np.random.RandomState(0).uniform(-100, 100, (1, 3, 64, 96)).astype(np.float32),
              'im_info': np.array([[64, 96, 1]], dtype=np.float32)}
    np.savez(str(tmp_path / 'in.npz'), **inputs)
    apart = tmp_path / 'apart'  # a folder from which this project cannot be imported by accident
    apart.mkdir()
    (apart / 'plain.py').write_text(numpy_names() + PLAIN_MXNET)
    command = [sys.executable, 'plain.py', prefix, str(tmp_path / 'in.npz'), 'out.npz']
    result = subprocess.run(command, cwd=str(apart), env={'PATH': '/usr/bin:/bin'}, text=True,
                            capture_output=True)
    assert result.returncode == 0, result.stderr
    assert 'rois_output' in result.stdout
    batch = mx.io.DataBatch([mx.nd.array(array) for array in inputs.values()],
                            provide_data=[mx.io.DataDesc(name, array.shape) for name, array in inputs.items()])
    ours = inference.predictor(cfg, prefix + '-0001.params').predict(batch)
    with np.load(str(apart / 'out.npz')) as theirs:
        for i, name in enumerate(('rois', 'cls_prob', 'bbox_pred')):
            np.testing.assert_allclose(theirs['arr_%d' % i], ours[name], rtol=1e-5, atol=1e-5)


def test_the_detections_pickle_is_a_list_over_classes_of_lists_over_images(tmp_path):
    found = np.array([[1, 2, 3, 4, 0.5]], dtype=np.float32)
    none = np.zeros((0, 5), dtype=np.float32)
    all_boxes = [[none, none], [found, none], [none, np.repeat(found, 2, axis=0)]]  # three classes, two images
    save_detections(all_boxes, str(tmp_path / 'detections.pkl'))
    with open(str(tmp_path / 'detections.pkl'), 'rb') as file:
        again = pickle.load(file)  # with nothing but the standard library and NumPy
    assert type(again) is list and [[boxes.shape for boxes in images] for images in again] == [
        [(0, 5), (0, 5)], [(1, 5), (0, 5)], [(0, 5), (2, 5)]]
    assert (again[1][0] == found).all()


def test_a_detections_pickle_of_the_release_is_read(tmp_path):
    # Python 2 pickles of protocol 2, whose empty entries are lists.
    with open(str(tmp_path / 'detections.pkl'), 'wb') as file:
        pickle.dump([[[], []], [np.zeros((2, 5)), np.zeros((0, 5))]], file, protocol=2)
    again = load_pickle(str(tmp_path / 'detections.pkl'))
    assert again[0] == [[], []] and again[1][0].shape == (2, 5)
