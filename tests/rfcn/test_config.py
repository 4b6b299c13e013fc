"""Loading, checking and freezing of the configuration."""
import copy
import logging
import pickle
from pathlib import Path

import pytest
import yaml
from easydict import EasyDict
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.errors import ConfigError
from rfcn.config import config as config_module
from rfcn.config.config import dump, load_config, thaw, with_overrides
from rfcn.config.defaults import KEYS

CFGS = Path(__file__).resolve().parents[2] / 'experiments' / 'rfcn' / 'cfgs'


@pytest.fixture
def write(tmp_path):
    """Writes a YAML file and returns its path."""
    def write_text(text, name='x.yaml'):
        path = tmp_path / name
        path.write_text(text, encoding='utf-8')
        return str(path)
    return write_text


def message_of(path=None, overrides=()):
    with pytest.raises(ConfigError) as error:
        load_config(path, overrides)
    return str(error.value)


def test_the_defaults_are_a_config_of_every_key():
    config = load_config()
    assert isinstance(config, EasyDict)
    assert config.TRAIN.RPN_BATCH_SIZE == config['TRAIN']['RPN_BATCH_SIZE'] == 256
    assert set(config_module.flatten(config)) == set(KEYS)


def test_every_default_is_of_its_own_kind_and_form():
    for key, (default, kind) in KEYS.items():
        value = kind(default)
        assert value == default and type(value) is type(default), key


def test_a_file_goes_over_the_defaults_and_the_command_line_over_the_file(write):
    path = write('TRAIN: {lr: 0.1, wd: 0.2}')
    config = load_config(path, ['TRAIN.wd=0.3', 'gpus=0,1', 'symbol=abc'])
    assert (config.TRAIN.lr, config.TRAIN.wd, config.TRAIN.momentum) == (0.1, 0.3, 0.9)
    assert (config.gpus, config.symbol) == ('0,1', 'abc')


def test_a_file_in_the_form_of_the_release_loads(write):
    config = load_config(write('''---
MXNET_VERSION: "mxnet"
gpus: '0,1,2,3'
SCALES:
- 600
- 1000
network:
  PIXEL_MEANS:
  - 103.06
  - 115.90
  - 123.15
  ANCHOR_RATIOS:
  - 0.5
  - 1
  - 2
  ANCHOR_SCALES:
  - 4
  - 8
  - 16
  - 32
  NUM_ANCHORS: 12
dataset:
  NUM_CLASSES: 81
  proposal: selective_search
TRAIN:
  lr_step: '4.83'
  RESUME: false
  BATCH_ROIS: -1
  ALTERNATE: {rpn1_lr: 0.001, rpn1_lr_step: '2', rpn1_epoch: 3}
'''))
    assert config.SCALES == ((600, 1000),)
    assert config.TRAIN.lr_step == (4.83,)
    assert config.TRAIN.ALTERNATE.rpn1_lr_step == (2.0,)
    assert config.network.NUM_ANCHORS == 12
    assert config.network.ANCHOR_RATIOS == (0.5, 1.0, 2.0)


@pytest.mark.parametrize('path', sorted(CFGS.glob('*.yaml')), ids=lambda path: path.stem)
def test_every_yaml_of_the_experiments_loads(path):
    config = load_config(path)
    assert config.symbol and config.output_path
    assert config.TRAIN.end_epoch > 0 or config.TRAIN.ALTERNATE.rfcn2_epoch > 0


def test_a_legacy_key_is_explained_once(write, caplog):
    config_module._note_legacy.cache_clear()
    path = write('MXNET_VERSION: mxnet')
    with caplog.at_level(logging.WARNING):
        assert 'MXNET_VERSION' not in load_config(path)
        load_config(path)
    assert len([record for record in caplog.records if 'MXNET_VERSION' in record.message]) == 1


@pytest.mark.parametrize('override, expected', [
    ('TRAIN.RPN_BATCHSIZE=3', 'command line: unknown key TRAIN.RPN_BATCHSIZE; did you mean TRAIN.RPN_BATCH_SIZE?'),
    ('lr=3', 'unknown key lr; did you mean TRAIN.lr?'),
    ('TRAIN.LR=3', 'did you mean TRAIN.lr?'),
    ('trian={lr: 0.1}', 'unknown key trian; did you mean TRAIN?'),
    ('TEST.QUANTIZE.CALIB=1', 'did you mean TEST.QUANTIZE.CALIB_MODE?'),
    ('TRAIN=3', 'TRAIN is a section and must hold keys, not 3'),
    ('TRAIN.lr', "'TRAIN.lr' must be KEY=VALUE, such as TRAIN.lr=0.001"),
    ('=1', 'must be KEY=VALUE'),
    ('TRAIN.lr=1e-4', "TRAIN.lr must be float, not '1e-4' (YAML reads 1e-4 as text: write 0.0001)"),
    ('TRAIN.lr=1.2.3e4', "TRAIN.lr must be float, not '1.2.3e4'"),
    ('TRAIN.lr=true', 'TRAIN.lr must be float, not True'),
    ('TRAIN.lr=null', 'TRAIN.lr must be float, not None'),
    ('TRAIN.lr=.nan', 'TRAIN.lr must be a finite float'),
    ('TRAIN.lr=1' + '0' * 400, 'TRAIN.lr must be a finite float'),
    ('TRAIN.lr=0x' + 'f' * 20000, 'TRAIN.lr must be a finite float'),
    ('TRAIN.lr=-1', 'TRAIN.lr must be 0 or more, not -1'),
    ('TRAIN.FG_THRESH=1.5', 'TRAIN.FG_THRESH must be 1 or less, not 1.5'),
    ('TRAIN.BATCH_IMAGES=0', 'TRAIN.BATCH_IMAGES must be 1 or more, not 0'),
    ('TRAIN.BATCH_IMAGES=1.0', 'TRAIN.BATCH_IMAGES must be int, not 1.0'),
    ('TRAIN.BATCH_IMAGES=true', 'TRAIN.BATCH_IMAGES must be int, not True'),
    ('TRAIN.BATCH_ROIS=0', 'TRAIN.BATCH_ROIS must be -1 (all) or 1 or more, not 0'),
    ('dataset.test_image_set=2007_test+2012_val',
     "dataset.test_image_set must be one image set, not '2007_test+2012_val' "
     '(sets are joined by + for training only; test on one after the other)'),
    ('dataset.val_image_set=a+b', "dataset.val_image_set must be one image set, not 'a+b'"),
    ('TRAIN.FLIP=1', 'TRAIN.FLIP must be true or false, not 1'),
    ('TRAIN.RESUME=1', 'TRAIN.RESUME must be one of False, True, auto, not 1'),
    ('network.CONV5=conv4', 'network.CONV5 must be one of atrous, stride32, none, not'),
    ('network.PIXEL_MEANS=[1, 2]', 'network.PIXEL_MEANS must be a list of 3, not [1, 2]'),
    ('network.PIXEL_MEANS=3', 'network.PIXEL_MEANS must be a list, not 3'),
    ('network.ANCHOR_SCALES=[]', 'network.ANCHOR_SCALES must be a list of at least one'),
    ('symbol=101', 'symbol must be text, not 101 (put it in quotes)'),
    ('SCALES=[1000, 600]', 'SCALES must be a pair with the shorter side first'),
    ('SCALES=[]', 'SCALES must be a pair'),
    ('SCALES=[[600, 1000], 3]', 'SCALES must be a pair'),
    ('TRAIN.lr_step=4,2', 'TRAIN.lr_step must be epochs in ascending order'),
    ('TRAIN.lr_step=two', "TRAIN.lr_step must be epochs such as '2,4.5', not 'two'"),
    ('gpus=x', "gpus must be different GPU numbers such as '0,1'"),
    ('gpus=0,0', "gpus must be different GPU numbers"),
    ('TRAIN.LR_MULT=3', 'TRAIN.LR_MULT must be a mapping'),
    ('TRAIN.LR_MULT={items: 3}', 'TRAIN.LR_MULT must be a mapping whose keys are parameter names'),
    ('TRAIN.BG_THRESH_LO=0.9', 'TRAIN.BG_THRESH_LO is 0.9 and must not exceed TRAIN.BG_THRESH_HI, which is 0.5'),
    ('network.NUM_ANCHORS=3', 'network.NUM_ANCHORS is stated as 3, but scales times ratios make 9'),
    ('dataset.CLASSES=[a, a]', 'dataset.CLASSES must be different names'),
    ('dataset.CLASSES=[1, 2]', 'must be text, not 1 (put it in quotes)'),
    ('dataset.CLASSES=a,b', "dataset.CLASSES must be a list [car, dog] or a file of names, not 'a,b'"),
    ('TRAIN.lr=[', 'command line: TRAIN.lr: line 1: not valid YAML'),
])
def test_a_bad_override_is_refused_with_its_remedy(override, expected):
    assert expected in message_of(overrides=[override])


@pytest.mark.parametrize('text, expected', [
    ('TRAIN:\n  RPN_BATCHSIZE: 3', 'x.yaml: unknown key TRAIN.RPN_BATCHSIZE; did you mean TRAIN.RPN_BATCH_SIZE?'),
    ('TRAIN:\n  lr: 0.1\n  lr: 0.2', "x.yaml: line 3: not valid YAML: 'lr' is given twice"),
    ('TRAIN:\n  lr: [', 'x.yaml: line 2: not valid YAML'),
    ('- a\n- b', "x.yaml: must be a mapping of keys to values, not ['a', 'b']"),
    ('a: &a [1]\nb: *a', 'x.yaml: line 2: not valid YAML: aliases are not read: write *a out'),
    ('a: !!python/object/apply:os.system [ls]', 'could not determine a constructor'),
    ('a: !!bool x', 'x.yaml: not valid YAML'),
    ('[' * 5000, 'x.yaml: not valid YAML'),
    ('a: 2001-99-99', 'x.yaml: not valid YAML'),
    ('a: \x01', 'x.yaml: not valid YAML'),
    ('# ' + 'x' * 70000, 'x.yaml: larger than 65536 bytes'),
    ('dataset: {CLASSES: [a], NUM_CLASSES: 3}',
     'x.yaml: dataset.NUM_CLASSES is stated as 3, but CLASSES and the background make 2'),
    ('1: 2', 'x.yaml: unknown key 1'),
])
def test_a_bad_file_is_refused_with_its_name(write, text, expected):
    assert expected in message_of(write(text))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere.yaml: no such file'):
        load_config(str(tmp_path / 'nowhere.yaml'))


def test_a_folder_and_a_file_that_is_not_text_are_refused(tmp_path):
    assert 'cannot be read' in message_of(str(tmp_path))
    (tmp_path / 'x.yaml').write_bytes(b'\xff\xfe\x00')
    assert 'cannot be read' in message_of(tmp_path / 'x.yaml')


def test_an_empty_file_an_empty_section_and_an_empty_text_are_the_defaults(write):
    assert load_config(write('')) == load_config()
    assert load_config(write('TRAIN:\nsymbol:\n')) == load_config()
    assert load_config(overrides=['gpus=', 'dataset.CLASSES=', 'TRAIN.lr_step=']) == load_config()


@pytest.mark.parametrize('text, expected',
                         [('"2,4.5"', (2.0, 4.5)), ('3', (3.0,)), ('[1, 2.5]', (1.0, 2.5)), ('""', ())])
def test_learning_rate_steps_are_text_a_number_or_a_list(text, expected):
    assert load_config(overrides=['TRAIN.lr_step=' + text]).TRAIN.lr_step == expected


@pytest.mark.parametrize('text, expected', [('3', '3'), ('[0, 1]', '0,1'), ('"0, 2"', '0,2'), ('""', ''), ('[]', '')])
def test_gpus_are_text_a_number_or_a_list(text, expected):
    assert load_config(overrides=['gpus=' + text]).gpus == expected


def test_scales_are_one_pair_or_several():
    assert load_config(overrides=['SCALES=[400, 700]']).SCALES == ((400, 700),)
    assert load_config(overrides=['SCALES=[[400, 700], [600, 1000]]']).SCALES == ((400, 700), (600, 1000))
    assert load_config(overrides=['TEST.SCALES=[400, 700]']).TEST.SCALES == ((400, 700),)


def test_the_classes_of_a_pretrained_detector_may_stand_in_a_file_beside_the_config(tmp_path):
    (tmp_path / 'coco.txt').write_text('cat\ndog\n')
    (tmp_path / 'x.yaml').write_text('network:\n  PRETRAINED_CLASSES: coco.txt\n')
    assert load_config(str(tmp_path / 'x.yaml')).network.PRETRAINED_CLASSES == ('cat', 'dog')
    with pytest.raises(ConfigError, match='network.PRETRAINED_CLASSES must be a list .* or a file of names'):
        load_config(overrides=['network.PRETRAINED_CLASSES=nowhere.txt'])


def test_the_numbers_of_anchors_and_classes_are_derived():
    config = load_config(overrides=['network.ANCHOR_SCALES=[8]', 'dataset.CLASSES=[car, dog]'])
    assert config.network.NUM_ANCHORS == 1 * 3
    assert config.dataset.NUM_CLASSES == 1 + 2


def test_class_names_come_from_a_file_beside_the_configuration(write):
    write('__background__\ncar\n\n  big dog \n', 'names.txt')
    config = load_config(write('dataset: {CLASSES: names.txt}'))
    assert config.dataset.CLASSES == ('car', 'big dog')
    write('car\ncar\n', 'names.txt')
    assert 'names.txt: the class names must be different names' in message_of(write('dataset: {CLASSES: names.txt}'))


def change_by_attribute(config):
    config.TRAIN.lr = 1


def change_by_item(config):
    config['TRAIN']['lr'] = 1


@pytest.mark.parametrize('change', [
    change_by_attribute, change_by_item, lambda c: c.update(a=1), lambda c: c.TRAIN.pop('lr'),
    lambda c: c.TRAIN.clear(), lambda c: c.popitem(), lambda c: c.setdefault('a', 1), lambda c: delattr(c, 'TRAIN'),
    lambda c: c.__delitem__('TRAIN'), lambda c: c.__ior__({'a': 1})],
    ids=['attribute', 'item', 'update', 'pop', 'clear', 'popitem', 'setdefault', 'delattr', 'del', '|='])
def test_a_loaded_config_cannot_be_changed(change):
    config = load_config()
    with pytest.raises(ConfigError, match='frozen'):
        change(config)
    assert config == load_config()


def test_a_config_survives_copying_and_pickling():
    config = load_config(overrides=['TRAIN.LR_MULT={conv_new_1: 3}'])
    for twin in (copy.copy(config), copy.deepcopy(config), pickle.loads(pickle.dumps(config))):
        assert twin == config and type(twin.TRAIN) is type(config.TRAIN) and twin.TRAIN.LR_MULT.conv_new_1 == 3.0


def test_a_copy_with_other_values_derives_again():
    config = load_config(overrides=['dataset.CLASSES=[car, dog]', 'TRAIN.lr=0.1'])
    other = with_overrides(config, {'network.ANCHOR_SCALES': [8], 'dataset.CLASSES': ['car'], 'TRAIN.wd': 0})
    assert (other.network.NUM_ANCHORS, other.dataset.NUM_CLASSES, other.TRAIN.lr, other.TRAIN.wd) == (3, 2, 0.1, 0.0)
    assert (config.network.NUM_ANCHORS, config.dataset.NUM_CLASSES) == (9, 3)
    assert with_overrides(load_config(overrides=['dataset.NUM_CLASSES=5']), {'TRAIN.lr': 1}).dataset.NUM_CLASSES == 5
    with pytest.raises(ConfigError, match='with_overrides: unknown key TRAIN.LRR'):
        with_overrides(config, {'TRAIN.LRR': 1})


def test_a_dumped_config_loads_back_the_same(write):
    config = load_config(overrides=['gpus=0', 'dataset.CLASSES=["yes", "1", "ñandú"]', 'TRAIN.LR_MULT={rfcn: 2}',
                                    'SCALES=[[400, 700], [600, 1000]]', 'TRAIN.RESUME=auto', 'TRAIN.lr=0.00001',
                                    'TRAIN.lr_step="1,2.5"'])
    assert load_config(write(dump(config))) == config


def test_a_thawed_config_is_plain_and_free():
    plain = thaw(load_config())
    plain['TRAIN']['lr'] = 5
    assert type(plain['TRAIN']) is dict and plain['SCALES'] == [[600, 1000]]


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(scalars, inner, max_size=3),
                      max_leaves=6)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(KEYS)), values)
def test_any_value_of_any_key_loads_or_is_refused(key, value):
    try:
        config = with_overrides(load_config(), {key: value})
    except ConfigError:
        return
    assert with_overrides(config, {}) == config


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet='TRAINlr:{}[]-&*!|>#\'"% \n0.9', max_size=60))
def test_any_text_is_a_config_or_is_refused(text):
    try:
        load_config(overrides=['TRAIN=' + text])
    except ConfigError:
        pass


def test_a_file_says_what_differs_from_its_base_and_from_the_base_of_that(write):
    write('TRAIN: {lr: 0.1, wd: 0.2, lr_step: "1,2"}\nsymbol: first', 'grandparent.yaml')
    write('BASE: grandparent.yaml\nTRAIN: {wd: 0.3, lr_step: "4"}', 'parent.yaml')
    config = load_config(write('BASE: parent.yaml\nsymbol: last'), ['TRAIN.lr=0.5'])
    assert (config.symbol, config.TRAIN.lr, config.TRAIN.wd, config.TRAIN.lr_step) == ('last', 0.5, 0.3, (4.0,))


def test_a_base_is_looked_for_beside_the_file_that_names_it(tmp_path, write, monkeypatch):
    (tmp_path / 'deep').mkdir()
    write('BASE: common.yaml\nTRAIN: {wd: 0.3}', 'deep/parent.yaml')
    write('TRAIN: {lr: 0.1}', 'deep/common.yaml')
    write('TRAIN: {lr: 0.7}', 'common.yaml')
    monkeypatch.chdir(tmp_path.parent)
    assert load_config(write('BASE: deep/parent.yaml')).TRAIN.lr == 0.1


def test_a_dumped_config_needs_no_base(write):
    write('TRAIN: {lr: 0.1}', 'parent.yaml')
    config = load_config(write('BASE: parent.yaml'))
    assert 'BASE' not in dump(config) and load_config(write(dump(config), 'y.yaml')) == config


def test_numbers_that_a_base_states_give_way_to_what_a_file_derives_anew(write):
    write('network: {NUM_ANCHORS: 9}\ndataset: {NUM_CLASSES: 21}', 'parent.yaml')
    config = load_config(write('BASE: parent.yaml\nnetwork: {ANCHOR_SCALES: [8]}\ndataset: {CLASSES: [car]}'))
    assert (config.network.NUM_ANCHORS, config.dataset.NUM_CLASSES) == (3, 2)
    path = write('network: {NUM_ANCHORS: 9}\ndataset: {NUM_CLASSES: 21}')
    assert load_config(path, ['network.ANCHOR_SCALES=[8]']).network.NUM_ANCHORS == 3


def test_class_names_of_a_base_stand_beside_the_base(tmp_path, write):
    (tmp_path / 'deep').mkdir()
    write('car\n', 'deep/names.txt')
    write('dataset: {CLASSES: names.txt}', 'deep/parent.yaml')
    assert load_config(write('BASE: deep/parent.yaml')).dataset.CLASSES == ('car',)


def test_a_circle_of_bases_is_refused_with_its_files(write):
    assert 'x.yaml: BASE goes in a circle' in message_of(write('BASE: x.yaml'))
    write('BASE: x.yaml', 'b.yaml')
    write('BASE: b.yaml', 'a.yaml')
    message = message_of(write('BASE: a.yaml'))
    names = [Path(part).name for part in message.partition('circle: ')[2].split(' -> ')]
    assert 'b.yaml: BASE goes' in message and names == ['x.yaml', 'a.yaml', 'b.yaml', 'x.yaml']


def test_a_fault_in_a_base_is_told_with_the_name_of_the_base(write):
    write('TRAIN: {lrr: 0.1}', 'parent.yaml')
    assert 'parent.yaml: unknown key TRAIN.lrr; did you mean TRAIN.lr?' in message_of(write('BASE: parent.yaml'))
    assert 'x.yaml: BASE must be the path of a YAML file, not 3' in message_of(write('BASE: 3'))
    with pytest.raises(FileNotFoundError, match=r'nowhere.yaml: no such file \(the BASE of .*x.yaml\)'):
        load_config(write('BASE: nowhere.yaml'))
    assert 'command line: BASE is for YAML files only' in message_of(overrides=['BASE=parent.yaml'])


@pytest.mark.parametrize('text, expected', [('7', 7), ('7.0', 7), ('7.25', 7.25), ('0', 0)])
def test_a_training_may_end_within_an_epoch(text, expected):
    end = load_config(overrides=['TRAIN.end_epoch=' + text, 'TRAIN.ALTERNATE.rpn1_epoch=' + text])
    assert end.TRAIN.end_epoch == end.TRAIN.ALTERNATE.rpn1_epoch == expected
    assert type(end.TRAIN.end_epoch) is type(expected)
    assert 'TRAIN.end_epoch must be 0 or more, not -1' in message_of(overrides=['TRAIN.end_epoch=-1'])


def test_the_scale_of_proposals_is_one_pair_or_none():
    assert load_config().TEST.PROPOSAL_SCALE == ()
    assert load_config(overrides=['TEST.PROPOSAL_SCALE=[600, 1000]']).TEST.PROPOSAL_SCALE == ((600, 1000),)
    message = message_of(overrides=['TEST.PROPOSAL_SCALE=[[600, 1000], [400, 667]]'])
    assert 'TEST.PROPOSAL_SCALE must be one pair [shorter side, longest side], not ((600, 1000), (400, 667))' in message


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder that stands for the project's, with the data set data/mine and the backbone model/resnet."""
    folder = tmp_path / 'project'
    for path in ('data/mine/x', 'model/resnet-0000.params', 'experiments/x'):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()
    monkeypatch.setattr(config_module, 'PROJECT', str(folder))
    return folder


PATHS = '{output_path: out, network: {pretrained: model/resnet}, dataset: {root_path: data, dataset_path: data/mine}}'


def paths_of(config):
    return [config.output_path, config.network.pretrained, config.dataset.root_path, config.dataset.dataset_path]


def test_paths_in_a_file_of_the_project_are_relative_to_the_project(project, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (project / 'experiments' / 'a.yaml').write_text(PATHS)
    expected = [str(project / path) for path in ('out', 'model/resnet', 'data', 'data/mine')]
    assert paths_of(load_config('project/experiments/a.yaml')) == expected
    assert load_config().dataset.root_path == str(project / 'data')      # the defaults too


def test_paths_in_another_file_are_relative_to_that_file_unless_they_name_something_in_the_project(project, tmp_path):
    (tmp_path / 'a.yaml').write_text(PATHS)
    beside, there = str(tmp_path), str(project)
    assert paths_of(load_config(tmp_path / 'a.yaml')) == [beside + '/out', there + '/model/resnet', there + '/data',
                                                          there + '/data/mine']
    (project / 'out').mkdir()
    (tmp_path / 'data' / 'mine').mkdir(parents=True)
    assert paths_of(load_config(tmp_path / 'a.yaml')) == [beside + '/out', there + '/model/resnet', beside + '/data',
                                                          beside + '/data/mine']


def test_an_installed_copy_knows_no_folder_but_the_file_s_and_the_current_one(tmp_path, monkeypatch):
    monkeypatch.setattr(config_module, 'PROJECT', None)
    (tmp_path / 'here').mkdir()
    monkeypatch.chdir(tmp_path / 'here')
    (tmp_path / 'a.yaml').write_text(PATHS)
    assert paths_of(load_config('../a.yaml')) == [str(tmp_path / path) for path in ('out', 'model/resnet', 'data',
                                                                                    'data/mine')]
    assert load_config().dataset.root_path == str(tmp_path / 'here' / 'data')


def test_a_written_configuration_holds_no_relative_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = load_config(None, ['output_path=out'])
    assert config.output_path == 'out'
    assert yaml.safe_load(dump(config))['output_path'] == str(tmp_path / 'out')
