"""The script that checks a data set."""
import json
import logging
import re
import shutil

import pytest
import yaml

from lib.errors import ConfigError, DatasetError, UserError
from rfcn.check_dataset import main
from rfcn.convert_dataset import main as convert


@pytest.fixture
def run(own_tiny_voc, tiny_yaml, capsys):
    """A function (arguments) -> exit status and what was printed, on a data set that may be damaged before."""
    path = tiny_yaml(own_tiny_voc)

    def call(*arguments):
        status = main(['--cfg', path] + list(arguments))
        return status, capsys.readouterr().out
    return call


def test_a_good_data_set_passes_and_its_counts_are_printed(run):
    status, printed = run()
    assert status == 0 and 'training would start' in printed
    assert 'voc_train (PascalVOC): 6 images, 1 of them without objects, 7 objects' in printed
    assert 'red        3 objects in 3 images' in printed and 'nothing is wrong' in printed
    assert 'network.ANCHOR_SCALES=[1,2,4]' in printed
    # the tiny sets share images on purpose
    assert 'image in both sets: 3 (the result of the test is too good)' in printed


def test_a_set_that_is_trained_on_and_tested_or_validated_on_is_told(run):
    status, printed = run('dataset.image_set=train+val', 'dataset.test_image_set=train', 'dataset.val_image_set=val')
    assert status == 0 and 'dataset.test_image_set: train is trained on: what was learnt by heart' in printed
    assert 'dataset.val_image_set: val is trained on: what was learnt by heart counts as found' in printed
    assert 'is trained on' not in run()[1]


@pytest.mark.parametrize('own', ['tiny.yaml', 'voc/Annotations/wide1.xml', 'voc/JPEGImages/wide1.jpg'])
def test_a_page_never_takes_the_place_of_what_was_checked(run, own_tiny_voc, own):
    path = own_tiny_voc.parent / own
    before = path.read_bytes()
    with pytest.raises(UserError, match='this file is read'):
        run('--html', str(path))
    assert path.read_bytes() == before


def test_a_page_that_cannot_be_written_is_told_before_the_check(run, tmp_path, capsys):
    with pytest.raises(FileNotFoundError, match='gone is not there'):
        run('--html', str(tmp_path / 'gone' / 'page.html'))
    assert capsys.readouterr().out == ''


def test_a_page_takes_the_place_of_an_earlier_one(run, tmp_path):
    assert [run('--html', str(tmp_path / 'page.html'))[0] for _ in range(2)] == [0, 0]


def test_a_damaged_image_means_that_training_would_not_run_unless_it_is_skipped(run, own_tiny_voc):
    image = own_tiny_voc / 'JPEGImages' / 'wide1.jpg'
    image.write_bytes(image.read_bytes()[:300])
    status, printed = run()
    assert status == 1 and 'training would not run: %s: expected an image' % image in printed
    assert run('dataset.on_bad_image=skip')[0] == 0


def test_an_unknown_label_is_reported_unless_it_is_ignored(run, own_tiny_voc):
    path = own_tiny_voc / 'Annotations' / 'wide1.xml'
    path.write_text(path.read_text().replace('>red<', '>rad<'))
    status, printed = run()
    assert status == 1 and "wide1.xml: object 0 (rad): unknown class 'rad'; known are blue, red" in printed
    assert run('dataset.on_unknown_class=ignore')[0] == 0


def test_labels_that_are_no_class_stand_in_the_same_columns(run):
    _, printed = run('dataset.CLASSES=[red]')
    assert '    red        3 objects' in printed and '    blue       4 objects' in printed


def test_a_network_that_is_not_known_means_that_training_would_not_run(run):
    status, printed = run('symbol=resnet_v1_101_rcnn')
    assert status == 1 and "training would not run: symbol: no network is called 'resnet_v1_101_rcnn'" in printed


def test_data_may_be_checked_before_the_weights_are_there(run):
    status, printed = run('network.pretrained=model/gone')
    assert status == 0 and 'training would start when its weights are there: model/gone-0000.params' in printed
    assert 'there: model/gone-best.params' in run('network.pretrained=model/gone-best.params')[1]


def test_control_characters_and_line_ends_of_class_names_are_printed_as_escapes(run, own_tiny_voc):
    for path in (own_tiny_voc / 'Annotations').iterdir():
        path.write_text(path.read_text().replace('>red<', '>a&#8232;b\u202e<'))
    status, printed = run('dataset.CLASSES=["a\\u2028b\\u202e","blue\\e[31m"]')
    assert '    a\\u2028b\\u202e       3 objects' in printed and "class 'blue\\x1b[31m' has no object" in printed
    assert "unknown class 'blue'; known are a\\u2028b\\u202e, blue\\x1b[31m. Correct" in printed and status == 1


def test_what_only_training_itself_notices_is_reported_too(run):
    status, printed = run('dataset.image_set=train+nowhere')
    assert status == 1 and 'nowhere cannot be read: ' in printed and 'nowhere.txt: there is no such file' in printed
    assert run('dataset.test_image_set=nowhere')[0] == 0    # training does not need it
    for period in '1', '0':     # a wrong name is a mistake in any case
        status, printed = run('dataset.val_image_set=nowhere', 'TRAIN.EVAL_PERIOD=' + period)
        assert status == 1 and 'nowhere cannot be read: ' in printed and 'training would not run' in printed


@pytest.mark.parametrize('old, new, told', [
    ('>red<', '>rad<', "{xml}: object 0 (rad): unknown class 'rad'"),
    ('<bndbox>', '<difficult>1</difficult><bndbox>', 'voc_test: of 2 objects 0 are tested on: 2 flagged as difficult')])
def test_what_stops_a_test_alone_is_told_as_that(run, own_tiny_voc, old, new, told):
    xml = own_tiny_voc / 'Annotations' / 'only_test.xml'
    shutil.copy(str(own_tiny_voc / 'JPEGImages' / 'wide1.jpg'), str(own_tiny_voc / 'JPEGImages' / 'only_test.jpg'))
    text = re.sub('<difficult>.</difficult>', '', (own_tiny_voc / 'Annotations' / 'wide1.xml').read_text())
    xml.write_text(text.replace(old, new))
    (own_tiny_voc / 'ImageSets' / 'Main' / 'test.txt').write_text('only_test\n')
    (own_tiny_voc / 'classes.txt').write_text('blue\nred\n')
    status, printed = run()
    assert status == 1 and 'training would start\na test would not run: ' + told.format(xml=xml) in printed


def test_sets_whose_categories_differ_are_told_as_training_and_test_take_them(run, own_tiny_voc, tmp_path):
    out = tmp_path / 'coco'
    convert(['--from', 'voc', '--to', 'coco', '--dataset', str(own_tiny_voc), '--sets', 'train,test', '--out',
             str(out)])
    path = out / 'annotations' / 'instances_test.json'
    data = json.loads(path.read_text())
    kept = [category for category in data['categories'] if category['name'] == 'red']
    annotations = [one for one in data['annotations'] if one['category_id'] == kept[0]['id']]
    path.write_text(json.dumps(dict(data, categories=kept, annotations=annotations)))
    settings = 'dataset.dataset=coco', 'dataset.dataset_path=%s' % out, 'dataset.CLASSES=[]'
    status, printed = run(*settings)
    assert status == 1 and 'test cannot be read: %s: no category blue; there are red. Add it' % path in printed
    assert 'training would start\na test would not run: %s: no category blue' % path in printed
    path.unlink()
    status, printed = run(*settings)
    assert status == 0 and "test cannot be read: %s: there are no annotations of the image set 'test'" % out in printed
    path.write_text(json.dumps(dict(data, categories=kept, annotations=annotations)))
    status, printed = run(*settings, 'dataset.image_set=train+test')
    assert status == 1 and 'training would not run: the sets differ in their classes: ' in printed
    assert run(*settings, 'dataset.image_set=train+test', 'dataset.CLASSES=[red]')[0] == 0


def test_the_first_pixel_of_a_csv_list_means_nothing_to_other_formats(tiny_voc, tmp_path):
    out = tmp_path / 'coco'
    with pytest.raises(UserError, match='--origin is for CSV lists that are read, and --from is voc'):
        convert(['--from', 'voc', '--to', 'coco', '--dataset', str(tiny_voc), '--sets', 'train', '--out', str(out),
                 '--origin', '1'])
    assert not out.exists()


def test_a_folder_of_another_format_than_that_of_the_configuration_is_told(run):
    for kind in ('coco', 'csv', 'yolo'):
        status, printed = run('dataset.dataset=' + kind, 'dataset.CLASSES=[red]')
        assert status == 1 and 'The folder looks like dataset.dataset=PascalVOC with the image sets ' in printed


def test_an_image_of_two_training_sets_is_told_apart_from_one_of_the_test_set(run, own_tiny_voc, tmp_path):
    (own_tiny_voc / 'ImageSets' / 'Main' / 'more.txt').write_text('wide1\n')
    status, printed = run('dataset.image_set=train+more', '--html', str(tmp_path / 'page.html'))
    assert status == 0 and 'same image twice: 1 (trained on twice)\n' in printed
    assert 'wide1.jpg in voc_more shows the same\n' in printed and 'the result of the test is too good' in printed
    page = (tmp_path / 'page.html').read_text()
    assert 'trained on twice' in page and 'the result of the test is too good' in page


def test_a_page_named_minus_is_all_of_the_standard_output(own_tiny_voc, tiny_yaml, capfd, tmp_path, monkeypatch):
    path = tiny_yaml(own_tiny_voc)
    monkeypatch.chdir(tmp_path)
    assert main(['--cfg', path, '--html', '-']) == 0
    printed = capfd.readouterr()
    assert printed.out.lstrip().startswith('<!') and printed.out.rstrip().endswith('</html>')
    assert 'training would start' in printed.err and not (tmp_path / '-').exists()


def test_the_page_and_the_cleaned_copy_are_written_and_the_copy_passes(run, own_tiny_voc, tmp_path, tiny_yaml):
    (own_tiny_voc / 'JPEGImages' / 'high2.jpg').unlink()
    path = own_tiny_voc / 'Annotations' / 'wide2.xml'
    path.write_text(path.read_text().replace('<xmax>52', '<xmax>120'))
    status, printed = run('--html', str(tmp_path / 'report.html'), '--fix', str(tmp_path / 'clean'))
    assert status == 1 and 'box is now (4, 16, 95, 47)' in printed and 'image left out: ' in printed
    page = (tmp_path / 'report.html').read_text()
    assert 'missing image: 1' in page and 'src="data:image/' in page
    assert main(['--cfg', tiny_yaml(tmp_path / 'clean')]) == 0
    with pytest.raises(DatasetError, match='clean: expected a new or empty folder, found files in it'):
        run('--fix', str(tmp_path / 'clean'))


def test_a_set_of_which_no_image_is_left_gets_no_copy(run, own_tiny_voc, tmp_path):
    for path in (own_tiny_voc / 'JPEGImages').iterdir():
        path.write_bytes(b'no image')
    status, printed = run('--fix', str(tmp_path / 'clean'))
    assert status == 1 and 'train: no cleaned copy, since no image is left' in printed
    assert not (tmp_path / 'clean').exists()


def test_what_fails_when_a_training_is_tried_is_reported(run, monkeypatch):
    def refuse(cfg, roidb):
        raise ValueError('no such luck')
    monkeypatch.setattr('rfcn.check_dataset.check_anchors', refuse)
    status, printed = run()
    assert status == 1 and 'training would not run: no such luck' in printed


@pytest.mark.parametrize('kind', ['coco', 'csv', 'yolo'])
def test_all_formats_are_checked_by_their_names_in_the_config(kind, own_tiny_voc, tmp_path, tiny_yaml, capsys):
    convert(['--from', 'voc', '--to', kind, '--dataset', str(own_tiny_voc), '--sets', 'train,test', '--out',
             str(tmp_path / kind)])
    values = yaml.safe_load(open(tiny_yaml(tmp_path / kind)))
    values['dataset'].update(dataset=kind)
    (tmp_path / 'other.yaml').write_text(yaml.safe_dump(values))
    assert main(['--cfg', str(tmp_path / 'other.yaml')]) == 0
    assert '7 objects' in capsys.readouterr().out
    shutil.rmtree(str(tmp_path / kind))
    assert main(['--cfg', str(tmp_path / 'other.yaml')]) == 1


def test_under_the_release_s_rules_a_thin_box_of_a_coco_json_counts_and_a_stated_area_of_0_does_not(
        own_tiny_voc, tmp_path, tiny_yaml, capsys):
    convert(['--from', 'voc', '--to', 'coco', '--dataset', str(own_tiny_voc), '--sets', 'train,test', '--out',
             str(tmp_path / 'coco')])
    path = tmp_path / 'coco' / 'annotations' / 'instances_train.json'
    data = json.loads(path.read_text())
    data['annotations'][0]['bbox'][2], data['annotations'][1]['area'] = 1, 0
    path.write_text(json.dumps(data))
    main(['--cfg', tiny_yaml(tmp_path / 'coco'), 'dataset.dataset=coco', 'RELEASE_RULES=true'])
    printed = capsys.readouterr().out
    assert 'of 7 objects 6 are used: 1 dropped (box outside the image)' in printed
    assert 'box outside the image: 1 (or of a stated area of 0: dropped)' in printed and 'tiny' not in printed


def test_under_the_release_s_rules_the_cleaned_copy_keeps_a_clipped_box_of_one_pixel(run, own_tiny_voc, tmp_path):
    path = own_tiny_voc / 'Annotations' / 'wide2.xml'       # of 96 pixels, the box from 4 to 51, counted from 0
    replace(path, '<xmin>5<', '<xmin>96<')
    replace(path, '<xmax>52<', '<xmax>100<')
    _, printed = run('RELEASE_RULES=true', '--fix', str(tmp_path / 'clean'))
    assert 'box is now (95, 16, 95, 47): ' in printed and 'tiny' not in printed
    assert 'object left out: ' in run('--fix', str(tmp_path / 'dropped'))[1]


def test_the_check_leaves_logging_as_it_found_it(run):
    level = logging.getLogger('lib').level
    run()
    assert logging.getLogger('lib').level == level


VAL_FAULTS = {
    'damaged': lambda data: (data / 'JPEGImages' / 'only_val.jpg').write_bytes(b'no image'),
    'missing': lambda data: (data / 'JPEGImages' / 'only_val.jpg').unlink(),
    'html': lambda data: (data / 'Annotations' / 'only_val.xml').write_text('<html/>'),
    'label': lambda data: replace(data / 'Annotations' / 'only_val.xml', '<name>red<', '<name>rad<'),
    'flag': lambda data: replace(data / 'Annotations' / 'only_val.xml', '<difficult>0<', '<difficult>2<'),
    'difficult': lambda data: replace(data / 'Annotations' / 'only_val.xml', '<difficult>0<', '<difficult>1<'),
    'outside': lambda data: replace(data / 'Annotations' / 'only_val.xml', '<xmin>', '<xmin>9')}


def replace(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize('fault', VAL_FAULTS)
def test_faults_of_the_validation_set_are_obstacles_where_it_is_validated_on(run, own_tiny_voc, fault):
    for folder, extension in (('JPEGImages', '.jpg'), ('Annotations', '.xml')):
        shutil.copy(str(own_tiny_voc / folder / ('wide1' + extension)),
                    str(own_tiny_voc / folder / ('only_val' + extension)))
    (own_tiny_voc / 'ImageSets' / 'Main' / 'val.txt').write_text('only_val\n')
    (own_tiny_voc / 'classes.txt').write_text('blue\nred\n')
    text = (own_tiny_voc / 'Annotations' / 'only_val.xml').read_text()
    if '<difficult>' not in text:
        text = text.replace('<bndbox>', '<difficult>0</difficult><bndbox>')
    (own_tiny_voc / 'Annotations' / 'only_val.xml').write_text(text.replace('>blue<', '>red<'))
    settings = 'dataset.val_image_set=val', 'TRAIN.EVAL_PERIOD=1'
    assert run(*settings)[0] == 0
    VAL_FAULTS[fault](own_tiny_voc)
    status, printed = run(*settings)
    assert status == 1 and 'training would not run: ' in printed
    assert run(settings[0], 'TRAIN.EVAL_PERIOD=0')[0] == 0


@pytest.mark.parametrize('option', ['--upright', '--reencode'])
def test_options_of_a_cleaned_copy_need_its_folder(tiny_yaml, option):
    with pytest.raises(ConfigError, match='name its folder, --fix OUT'):
        main(['--cfg', tiny_yaml(), option])
