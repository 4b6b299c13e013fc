"""From a folder of annotated pictures to a configuration that trains."""
import csv
import fcntl
import json
import shutil
import signal

import cv2
import mxnet as mx
import numpy as np
import pytest

from lib.dataset.annotations import AnnotatedSet, Picture, no_items
from lib.dataset.csv_list import write_list
from lib.errors import CheckpointError, DatasetError
from lib.utils.folders import FolderInUse
from rfcn import prepare, prepared_config
from rfcn.checkpoints.checkpoint import save_arrays
from rfcn.cli.script import run_script
from rfcn.config.config import load_config
from rfcn.core.interrupt import Stopped
from rfcn.importers.trunk import STYLES, parameter_names, trunk_layers
from tests.conftest import TINY_COLOURS, tiny_annotation
from tests.lib.dataset.conftest import write_picture


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A folder of 14 pictures with XML beside them, two of them nearly alike."""
    monkeypatch.chdir(tmp_path)
    folder, rng = tmp_path / 'my photos', np.random.RandomState(0)
    folder.mkdir()
    for number in range(14):
        picture = cv2.resize(rng.randint(60, 190, (6, 9, 3)).astype(np.uint8), (160, 120))
        x, y, label = rng.randint(1, 90), rng.randint(1, 60), ('red', 'blue')[number % 2]
        picture[y:y + 50, x:x + 60] = TINY_COLOURS[label]
        cv2.imwrite(str(folder / ('p%02d.png' % number)), picture)
        box = (label, x + 1, y + 1, x + 60, y + 50)
        (folder / ('p%02d.xml' % number)).write_text(tiny_annotation((160, 120), [box]))
    shutil.copy(str(folder / 'p00.xml'), str(folder / 'twin.xml'))
    cv2.imwrite(str(folder / 'twin.jpg'), cv2.imread(str(folder / 'p00.png')))
    return folder


def names_of(path):
    """Names of the images of a CSV list."""
    with open(str(path)) as file:
        return {row['image'] for row in csv.DictReader(file)}


def test_a_folder_becomes_three_lists_and_a_configuration_that_trains(photos, capsys, monkeypatch):
    monkeypatch.setattr(prepared_config, 'seconds_per_step', lambda config, images, image_set: 0.1)
    assert prepare.main([str(photos), '--minutes', '1']) == 0
    lists = [names_of(photos / ('prepared_%s.csv' % role)) for role in ('train', 'val', 'test')]
    assert sum(len(names) for names in lists) == 15 and len(set.union(*lists)) == 15
    assert all(('p00.png' in names) == ('twin.jpg' in names) for names in lists)     # not on both sides
    printed = capsys.readouterr().out
    assert 'training would start' in printed and "next: rfcn train --cfg '%s'\n" % (photos / 'prepared.yaml') in printed
    cfg = load_config(str(photos / 'prepared.yaml'))
    assert cfg.dataset.CLASSES == ('blue', 'red') and cfg.dataset.val_image_set == 'prepared_val'
    assert (cfg.symbol, cfg.TEST.test_epoch) == ('small_rfcn', 0)     # 0: the last epoch, whatever their number
    assert not cfg.dataset.USE_07_METRIC and cfg.TRAIN.EVAL_PERIOD >= 1
    # objects of 60 x 50 in pictures of 120 pixels, shrunk to 96: a square of 44 pixels, 2.7 cells of 16
    assert cfg.SCALES == ((96, 160),) and cfg.network.ANCHOR_SCALES == (2.7,)


def test_the_speed_is_that_of_training_steps_on_the_data(photos):
    sets = prepare.assign(prepare.read_folder(str(photos)))
    write_list(str(photos / 'any.csv'), sets['train'])
    data = sets['train'][0][0]._replace(pictures=[picture for _, picture in sets['train']])
    config = prepared_config.configuration(str(photos), data.classes, prepared_config.settings(data, ''), '')
    assert 1e-3 <= prepared_config.seconds_per_step(config, len(sets['train']), 'any') < 60


def test_pictures_keep_the_sets_of_an_earlier_call_when_more_have_come(photos, monkeypatch):
    monkeypatch.setattr(prepared_config, 'seconds_per_step', lambda config, images, image_set: 0.1)
    prepare.prepare(photos)
    lists = [photos / ('prepared_%s.csv' % role) for role in prepare.SHARES]
    before = [names_of(path) for path in lists]
    moved = next(name for name in before[2] if name != 'twin.jpg')
    for old, new in ('p01', 'q01'), ('p02', 'q02'), ('p03', 'q03'), (moved[:-4], 'like_one_of_test'):
        picture = cv2.imread(str(photos / (old + '.png')))
        cv2.imwrite(str(photos / (new + '.png')), picture if new.startswith('like') else 255 - picture)
        shutil.copy(str(photos / (old + '.xml')), str(photos / (new + '.xml')))
    prepare.prepare(photos)
    after = [names_of(path) for path in lists]
    assert all(names <= now for names, now in zip(before, after))
    assert sum(map(len, after)) == 19 and 'like_one_of_test.png' in after[2]


def test_sets_of_different_categories_are_refused_with_the_remedy(tmp_path):
    for name, categories in ('train', ['cat', 'dog']), ('val', ['cat']):
        write_picture(tmp_path / name / 'a.png')
        (tmp_path / (name + '.json')).write_text(json.dumps({
            'images': [{'id': 1, 'file_name': 'a.png'}], 'annotations': [],
            'categories': [{'id': number, 'name': category} for number, category in enumerate(categories)]}))
    with pytest.raises(DatasetError, match='train: cat, dog; val: cat. Add what one lacks to its list: the categories'):
        prepare.read_folder(str(tmp_path))


def test_where_all_pictures_of_an_earlier_set_are_gone_all_are_split_anew(photos, caplog):
    sets = prepare.read_folder(str(photos))
    names = sorted(picture.name for picture in sets['.'].pictures)
    earlier = dict.fromkeys(names, 'train')
    earlier.update({'gone.png': 'test', names[1]: 'val'})
    assert prepare.assign(sets, earlier) == prepare.assign(sets)
    assert [record.message for record in caplog.records if record.levelname == 'WARNING'] == [
        'no picture of the earlier prepared_test.csv is left under its name: all are split anew, so do not test '
        'earlier networks on the new sets']
    caplog.clear()
    prepare.assign(sets, {'moved/' + name: 'train' for name in names})
    assert 'no picture of the earlier prepared_train.csv, prepared_val.csv, prepared_test.csv is left' in caplog.text


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_speed_is_measured_ends_prepare_with_a_sentence(photos, monkeypatch, capsys, number):
    def stopped(*args):
        raise Stopped(number)
    monkeypatch.setattr(prepared_config, 'train_net', stopped)
    with pytest.raises(SystemExit) as end:
        run_script(lambda: prepare.main([str(photos)]))
    assert end.value.code == 128 + number and list(photos.glob('prepared*')) == []
    assert capsys.readouterr().err == 'error: %s\n' % (
        'interrupted' if number == signal.SIGINT else 'ended by SIGTERM')


def test_sets_of_the_same_classes_in_another_order_are_taken_as_training_takes_them(photos):
    write_json(photos, 'train', ['p00', 'p01'], ['red', 'blue'])
    write_json(photos, 'val', ['p02', 'p03'], ['blue', 'red'])
    sets = prepare.read_folder(str(photos))
    assert [data.classes for data in sets.values()] == [('red', 'blue')] * 2
    labels = {picture.name: data.label(picture.items[0]) for data in sets.values() for picture in data.pictures}
    assert labels == {'p00.png': 'red', 'p01.png': 'blue', 'p02.png': 'red', 'p03.png': 'blue'}


def test_pictures_that_no_set_has_are_told(photos, caplog):
    write_json(photos, 'train', ['p00', 'p01', 'p02'], ['red', 'blue'])     # the XML files beside do not count
    prepare.read_folder(str(photos))
    assert '%s: 12 pictures in none of these sets: not used, such as p03.png' % photos in caplog.messages


def write_json(folder, image_set, stems, classes):
    """A COCO json of pictures of the folder, whose colours go by their numbers; ids are places in the lists."""
    annotations = [{'image_id': place, 'bbox': [1, 2, 30, 40], 'category_id': classes.index(
        ('red', 'blue')[int(stem[1:]) % 2])} for place, stem in enumerate(stems)]
    (folder / (image_set + '.json')).write_text(json.dumps({
        'images': [{'id': place, 'file_name': stem + '.png'} for place, stem in enumerate(stems)],
        'annotations': annotations, 'categories': [{'id': place, 'name': name} for place, name in enumerate(classes)]}))


def test_two_files_that_say_the_same_of_a_picture_in_other_order_are_taken(photos):
    for xml in photos.glob('*.xml'):
        xml.unlink()
    names = ['p%02d.png' % number for number in range(6)]
    categories = [{'id': 1, 'name': 'red'}, {'id': 2, 'name': 'blue'}]
    images = [{'id': number, 'file_name': name} for number, name in enumerate(names)]
    objects = [{'image_id': number % 6, 'category_id': 1 + number // 6, 'bbox': [5, 6, 60, 50]} for number in range(12)]
    for name, turned in ('first.json', 1), ('second.json', -1):
        (photos / name).write_text(json.dumps({'images': images, 'categories': categories,
                                               'annotations': objects[::turned]}))
    sets = prepare.assign(prepare.read_folder(str(photos)))
    assert sorted(picture.name for role in sets.values() for _, picture in role) == names


def test_two_files_that_say_different_things_of_a_picture_are_refused(photos):
    for xml in photos.glob('*.xml'):
        xml.unlink()
    line = 'p00.png,1,2,30,40,red\n'
    for name, lines in (('first.csv', line), ('second.csv', line), ('third.csv', line.replace('30', '31'))):
        (photos / name).write_text('image,x1,y1,x2,y2,class\n' + lines)
    with pytest.raises(DatasetError, match=r'p00\.png: has other objects in .*third\.csv than in .*first\.csv\. Take'):
        prepare.assign(prepare.read_folder(str(photos)))


def test_lists_and_configuration_of_before_stay_where_a_new_one_fails(photos, monkeypatch):
    monkeypatch.setattr(prepared_config, 'seconds_per_step', lambda config, images, image_set: 0.1)
    prepare.prepare(str(photos), minutes=1)
    names = ['prepared.yaml'] + ['prepared_%s.csv' % role for role in ('train', 'val', 'test')]
    before = {name: (photos / name).read_bytes() for name in names}
    (photos / 'twin.xml').unlink()      # other lists
    (photos / 'twin.jpg').unlink()

    def fail(config, images, image_set):
        assert (photos / (image_set + '.csv')).exists()
        raise OSError('the disk has gone')
    monkeypatch.setattr(prepared_config, 'seconds_per_step', fail)
    with pytest.raises(OSError, match='the disk has gone'):
        prepare.prepare(str(photos), minutes=1)
    assert {name: (photos / name).read_bytes() for name in names} == before
    assert not [path.name for path in photos.iterdir() if '.tmp-' in path.name]


def test_two_at_once_in_one_folder_are_refused(photos):
    lock = (photos / '.lock').open('w')
    fcntl.flock(lock, fcntl.LOCK_EX)    # as another process would hold it
    with lock, pytest.raises(FolderInUse, match='in use by another run'):
        prepare.prepare(str(photos), minutes=1)
    assert not list(photos.glob('prepared*'))


def of_sets(**counts):
    """AnnotatedSets of pictures that are not there."""
    return {name: AnnotatedSet(name, name, 'csv', ('cat',), 1, [
        Picture('%s%d' % (name, i), '', '%s%d' % (name, i), '', (9, 9), no_items()) for i in range(count)], [], '')
        for name, count in counts.items()}


def test_sets_that_tools_name_keep_their_pictures(monkeypatch):
    monkeypatch.setattr(prepare, 'split_pictures', lambda pictures, roles, earlier: [
        range(i, len(pictures), len(roles)) for i in range(len(roles))])
    sizes = {role: len(pairs) for role, pairs in prepare.assign(of_sets(train=6, valid=3, test=2)).items()}
    assert sizes == {'train': 6, 'val': 3, 'test': 2}
    sizes = {role: len(pairs) for role, pairs in prepare.assign(of_sets(train=6, val=3)).items()}
    assert sizes == {'train': 3, 'val': 3, 'test': 3}       # the test pictures come from the training's


def test_a_set_beside_its_parts_adds_no_picture_twice():
    sets = of_sets(train=2, val=1, test=1)
    sets['trainval'] = sets['train']._replace(pictures=sets['train'].pictures + sets['val'].pictures)
    assert {role: len(pairs) for role, pairs in prepare.assign(sets).items()} == {'train': 2, 'val': 1, 'test': 1}


def test_two_sets_of_one_role_add_a_picture_once():
    sets = of_sets(train=2, val=1, test=1)
    sets['train_labels'] = of_sets(train=3)['train']
    assert {role: len(pairs) for role, pairs in prepare.assign(sets).items()} == {'train': 3, 'val': 1, 'test': 1}


def test_pictures_of_two_sets_are_left_out_of_the_second(monkeypatch, caplog):
    monkeypatch.setattr(prepare, 'split_pictures', lambda pictures, roles, earlier: [
        range(i, len(pictures), len(roles)) for i in range(len(roles))])
    sets = of_sets(train=6, test=2)
    sets['valid'] = sets['train']                           # as COCO128's data.yaml states it
    sets['test'] = sets['test']._replace(pictures=sets['test'].pictures + sets['train'].pictures[:1])
    shared = prepare.assign(sets)
    assert {role: len(pairs) for role, pairs in shared.items()} == {'train': 3, 'val': 3, 'test': 2}
    assert len({picture.path for pairs in shared.values() for _, picture in pairs}) == 8
    assert caplog.messages == ['val: 6 pictures also in a set before it (train, val, test): left out of val',
                               'test: 1 picture also in a set before it (train, val, test): left out of test']


def test_a_folder_without_a_set_to_train_on_is_refused_with_what_to_do():
    with pytest.raises(DatasetError, match='only the sets val. Call one of them train: the missing sets get a share'):
        prepare.assign(of_sets(val=3))                      # FiftyOne calls a single set val


def test_what_stops_training_is_told_before_anything_is_written(photos):
    written = (photos / 'p01.xml').read_text()
    (photos / 'p01.xml').write_text('<annotation><object></annotation>')
    with pytest.raises(DatasetError, match=r'p01\.xml.*rfcn check lists all faults'):
        prepare.main([str(photos)])
    (photos / 'p01.xml').write_text(written.replace('<width>160<', '<width>161<'))
    with pytest.raises(DatasetError, match=r'p01\.png: the image is 160 x 120 pixels, its annotation .* 161 x 120'):
        prepare.read_folder(str(photos))        # and not in the training that is measured
    assert not list(photos.glob('prepared*'))


def test_too_few_pictures_are_told(tmp_path, photos):
    few = tmp_path / 'few'
    few.mkdir()
    for name in ('p00.png', 'p00.xml', 'twin.jpg', 'twin.xml'):
        shutil.copy(str(photos / name), str(few))
    with pytest.raises(DatasetError, match='1 different picture: too few for the sets train, val, test, which'):
        prepare.prepare(few)


def test_weights_and_minutes_are_checked_first(photos, capsys, tiny_params):
    for minutes in ('nan', 'inf', '0', 'x'):
        with pytest.raises(SystemExit):
            prepare.main([str(photos), '--minutes', minutes])
        assert "--minutes: expected a number above 0, not '%s'" % minutes in capsys.readouterr().err
    with pytest.raises(FileNotFoundError, match='no-0000.params: no such parameter file; --pretrained takes'):
        prepare.main([str(photos), '--pretrained', 'no'])
    with pytest.raises(CheckpointError, match='tiny-0001.params: found no ResNet-v1 of'):
        prepare.main([str(photos), '--pretrained', tiny_params])


def test_weights_that_prepare_has_no_network_for_are_told_with_what_it_takes(tmp_path):
    path, release = str(tmp_path / 'a-0000.params'), STYLES[-1]
    for depth, more, said in ((50, ['res5a_branch2b_offset_weight'], 'a deformable one'), (101, [], 'a ResNet-101')):
        names = sum((parameter_names(release, layer) for layer in trunk_layers(depth)), more)
        save_arrays(path, {'arg:' + name: mx.nd.ones(1) for name in names})
        with pytest.raises(CheckpointError, match=said + '.*--pretrained takes a ResNet-50 without deformable'):
            prepare.check_weights(path)
