"""Files of a configuration: damaged ones, the BASE of a file, files of class names, relative paths."""
from pathlib import Path

import pytest
import yaml

from lib.errors import ConfigError
from rfcn.config import config as config_module
from rfcn.config.config import dump, load_config
from tests.rfcn.config.conftest import message_of


@pytest.mark.parametrize('text, expected', [
    ('TRAIN:\n  RPN_BATCHSIZE: 3', 'x.yaml: unknown key TRAIN.RPN_BATCHSIZE; did you mean TRAIN.RPN_BATCH_SIZE?'),
    ('TRAIN:\n  lr: 0.1\n  lr: 0.2', "x.yaml: line 3: not valid YAML: 'lr' is given twice"),
    ('TRAIN:\n  lr: [', 'x.yaml: line 2: not valid YAML'),
    ('- a\n- b', "x.yaml: expected keys with values, such as TRAIN: {lr: 0.001}, found ['a', 'b']"),
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
    assert 'x.yaml: expected a YAML file, cannot be read' in message_of(tmp_path / 'x.yaml')


def test_the_classes_of_a_pretrained_detector_may_stand_in_a_file_beside_the_config(tmp_path):
    (tmp_path / 'coco.txt').write_text('cat\ndog\n')
    (tmp_path / 'x.yaml').write_text('network:\n  PRETRAINED_CLASSES: coco.txt\n')
    assert load_config(str(tmp_path / 'x.yaml')).network.PRETRAINED_CLASSES == ('cat', 'dog')
    with pytest.raises(ConfigError, match='network.PRETRAINED_CLASSES must be a list .* or a file of names'):
        load_config(overrides=['network.PRETRAINED_CLASSES=nowhere.txt'])


def test_class_names_come_from_a_file_beside_the_configuration(write):
    write('__background__\ncar\n\n  big dog \n', 'names.txt')
    config = load_config(write('dataset: {CLASSES: names.txt}'))
    assert config.dataset.CLASSES == ('car', 'big dog')
    write('car\ncar\n', 'names.txt')
    assert 'names.txt: the class names must be different names' in message_of(write('dataset: {CLASSES: names.txt}'))


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


def test_a_tilde_is_the_home_folder_wherever_a_path_is_expected(tmp_path, write, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path / 'home'))
    (tmp_path / 'home').mkdir()
    (tmp_path / 'home' / 'names.txt').write_text('cat\n')
    (tmp_path / 'home' / 'base.yaml').write_text('symbol: x')
    config = load_config(write('BASE: ~/base.yaml\noutput_path: ~/runs\ndataset: {CLASSES: ~/names.txt}'),
                         ['dataset.dataset_path=~/data', 'network.pretrained=~/model'])
    assert (config.symbol, config.dataset.CLASSES) == ('x', ('cat',))
    assert [config.output_path, config.dataset.dataset_path, config.network.pretrained] == [
        str(tmp_path / 'home' / name) for name in ('runs', 'data', 'model')]


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
