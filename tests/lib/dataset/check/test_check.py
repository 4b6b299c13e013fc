"""The checker finds each fault that was put into a data set, and the cleaned copy has none of them."""
import json
import os
import shutil

import cv2
import numpy as np
import pytest

from lib.dataset import faults as kinds
from lib.dataset import make_dataset, read_annotated
from lib.dataset.box_rule import RELEASE
from lib.dataset.check.changes import plan_changes
from lib.dataset.check.fix import write_fixed
from lib.dataset.check.pictures import check_images, same_images, shared_images
from lib.dataset.check.report import check, class_counts, set_text
from lib.errors import DatasetError

GOOD = ('cat', 5, 6, 15, 16)                    # label, corners counted from 0; the images are 40 x 30
BAD = {kinds.INVERTED: ('cat', 30, 6, 10, 16), kinds.OUTSIDE: ('cat', 50, 6, 60, 16),
       kinds.CLIPPED: ('dog', 30, 20, 45, 35),
       kinds.TINY: ('dog', 8, 8, 8, 8), kinds.DOUBLED: GOOD}


def write_image(path, seed, size=(40, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.random.RandomState(seed).randint(0, 255, size[::-1] + (3,)).astype(np.uint8))


def write_set(kind, folder, name, pictures):
    """Write a set by hand: pictures is dict name of a png -> (objects, annotated size); images are not written."""
    folder.mkdir(parents=True, exist_ok=True)
    if kind == 'PascalVOC':
        for sub in ('Annotations', 'ImageSets/Main', 'JPEGImages'):
            (folder / sub).mkdir(parents=True, exist_ok=True)
        for stem, (objects, size) in pictures.items():
            nodes = ''.join('<object><name>%s</name><pose>Left</pose><bndbox><xmin>%g</xmin><ymin>%g</ymin>'
                            '<xmax>%g</xmax><ymax>%g</ymax></bndbox></object>'
                            % ((item[0],) + tuple(value + 1 for value in item[1:]))
                            for item in objects)
            (folder / 'Annotations' / (stem + '.xml')).write_text(
                '<annotation><owner>me</owner><size><width>%d</width><height>%d</height></size>%s</annotation>'
                % (size + (nodes,)))
        (folder / 'ImageSets/Main' / (name + '.txt')).write_text(''.join(stem + '\n' for stem in pictures))
        return folder / 'JPEGImages'
    if kind == 'coco':
        images = [{'id': i, 'file_name': stem + '.png', 'width': size[0], 'height': size[1], 'licence': 7}
                  for i, (stem, (_, size)) in enumerate(pictures.items())]
        annotations = [{'id': 1, 'image_id': i, 'category_id': 1 + (item[0] == 'dog'), 'score': 4,
                        'bbox': [item[1], item[2], item[3] - item[1] + 1, item[4] - item[2] + 1]}
                       for i, (objects, _) in enumerate(pictures.values()) for item in objects]
        (folder / (name + '.json')).write_text(json.dumps({
            'info': 'mine', 'images': images, 'annotations': annotations,
            'categories': [{'id': 1, 'name': 'cat'}, {'id': 2, 'name': 'dog'}]}))
        return folder / 'images'
    if kind == 'csv':
        rows = [','.join(map(str, (stem + '.png',) + tuple(item[1:]) + (item[0],) + size + ('me',)))
                for stem, (objects, size) in pictures.items() for item in objects or [('',) * 5]]
        (folder / (name + '.csv')).write_text('image,x1,y1,x2,y2,class,width,height,by\n' + '\n'.join(rows) + '\n')
        return folder / 'images'
    for stem, (objects, _) in pictures.items():
        (folder / 'labels' / name).mkdir(parents=True, exist_ok=True)
        (folder / 'labels' / name / (stem + '.txt')).write_text(''.join(
            '%d %r %r %r %r\n' % (item[0] == 'dog', (item[1] + item[3] + 1) / 80, (item[2] + item[4] + 1) / 60,
                                  (item[3] - item[1] + 1) / 40, (item[4] - item[2] + 1) / 30) for item in objects))
    (folder / 'data.yaml').write_text('names: [cat, dog]\n')
    return folder / 'images' / name


def damaged_set(kind, folder):
    """A set with every fault that the format can have; returns it and the folder of its images."""
    pictures = {name: ([GOOD], (40, 30)) for name in ('fine', 'twin', 'damaged', 'gone')}
    pictures['wrong_size'] = ([GOOD], (12, 30))       # no box of an image of this width
    pictures['empty'] = ([], (40, 30))
    pictures['boxes'] = ([GOOD] + list(BAD.values()), (40, 30))
    images = write_set(kind, folder, 'train', pictures)
    for seed, name in enumerate(pictures):
        write_image(images / (name + '.png'), 0 if name == 'twin' else seed)
    (images / 'damaged.png').write_bytes((images / 'fine.png').read_bytes()[:500])
    if kind == 'yolo':      # the images that lie there are the set
        (folder / 'train.txt').write_text(''.join('images/train/%s.png\n' % name for name in pictures))
    (images / 'gone.png').unlink()
    return folder


FORMATS = ['PascalVOC', 'coco', 'csv', 'yolo']


def expected_kinds(kind):
    found = {kinds.MISSING: 1, kinds.IMAGE: 1, kinds.SIZE: 1, kinds.SAME_IMAGE: 1, **dict.fromkeys(BAD, 1)}
    if kind == 'yolo':      # it has no size that could be wrong
        del found[kinds.SIZE]
    return found


@pytest.mark.parametrize('kind', FORMATS)
def test_each_fault_is_found_once_and_named(kind, tmp_path):
    report = check(read_annotated(kind, 'train', str(damaged_set(kind, tmp_path / 'data'))))
    assert {name: len(faults) for name, faults in report.by_kind().items()} == expected_kinds(kind)
    texts = {name: faults[0].text for name, faults in report.by_kind().items()}
    for name, image in ((kinds.MISSING, 'gone'), (kinds.IMAGE, 'damaged.png'), (kinds.SAME_IMAGE, 'twin.png')):
        assert image in texts[name]
    assert 'box (30, 6, 10, 16) in an image of 40 x 30 pixels' in texts[kinds.INVERTED]
    places = {'PascalVOC': 'boxes.xml: object 4 (dog)', 'coco': 'train.json: annotations[9] (dog)',
              'csv': 'train.csv: line 12 (dog)',
              'yolo': 'boxes.txt: line 5 (dog)'}
    assert places[kind] in texts[kinds.TINY]
    for name, text in texts.items():
        assert '%s: 1 (%s)' % (name, report.meaning(name)) in set_text(report) and text in set_text(report)


@pytest.mark.parametrize('kind', FORMATS)
def test_the_cleaned_copy_has_no_faults_is_in_the_same_format_and_can_be_trained_on(kind, tmp_path):
    source, out = damaged_set(kind, tmp_path / 'data'), tmp_path / 'out'
    report = check(read_annotated(kind, 'train', str(source)))
    changes = plan_changes(report)
    write_fixed(report.data, changes, 'train', str(source), str(out))
    again = check(read_annotated(kind, 'train', str(out)))
    assert set(again.by_kind()) == {kinds.SAME_IMAGE} and len(changes.notes) == len(report.faults)
    boxes = {entry['image'].rpartition('/')[2]: entry['boxes'].tolist()
             for entry in make_dataset(kind, 'train', str(out)).gt_roidb()}
    good = [5, 6, 15, 16]
    assert boxes == {'fine.png': [good], 'twin.png': [good], 'wrong_size.png': [good], 'empty.png': [],
                     'boxes.png': [good, [10, 6, 30, 16], [30, 20, 39, 29]]}


def test_the_notes_say_what_was_changed_and_what_was_not(tmp_path):
    report = check(read_annotated('coco', 'train', str(damaged_set('coco', tmp_path / 'data'))))
    notes = plan_changes(report).notes
    for start, end in [('image left out: ', '[missing image]'), ('image left out: ', '[unreadable image]'),
                       ('size is now 40 x 30: ', '[size differs]'), ('box is now (10, 6, 30, 16): ', '[inverted box]'),
                       ('box is now (30, 20, 39, 29): ', '[box sticks out]'), ('object left out: ', '[tiny box]'),
                       ('object left out: ', '[box outside the image]'), ('not changed: ', '[same image twice]')]:
        assert any(note.startswith(start) and note.endswith(end) for note in notes), (start, notes)


@pytest.mark.parametrize('kind', FORMATS[:3])
@pytest.mark.parametrize('size', [(80, 60), (44, 33), (30, 30)])
def test_a_picture_that_may_have_been_resized_after_its_boxes_were_drawn_stays_as_it_is(kind, size, tmp_path):
    objects = [GOOD] + [('dog', 30, 20, 70, 50)] * (size == (80, 60)) + [('dog', 8, 8, 29, 29)] * (size == (30, 30))
    write_image(write_set(kind, tmp_path / 'data', 'train', {'a': (objects, size)}) / 'a.png', 1)
    report = check(read_annotated(kind, 'train', str(tmp_path / 'data')))
    changes = plan_changes(report)
    assert not changes.sizes and not changes.boxes and changes.notes[0].startswith('not changed: ')
    assert 'or resize its boxes, if the image was resized' in changes.notes[0]


@pytest.mark.parametrize('kind', FORMATS)
def test_boxes_that_become_equal_are_one_in_the_copy_and_those_clipped_alike_are_told(kind, tmp_path):
    objects = [GOOD, ('cat', 15, 6, 5, 16), ('dog', 30, 20, 45, 35), ('dog', 30, 20, 50, 40), ('cat', 30, 20, 45, 35)]
    write_image(write_set(kind, tmp_path / 'data', 'train', {'a': (objects, (40, 30))}) / 'a.png', 1)
    report = check(read_annotated(kind, 'train', str(tmp_path / 'data')))
    assert len(report.by_kind()[kinds.DOUBLED]) == 1        # of the two dogs; the inverted cat is dropped
    changes = plan_changes(report)
    write_fixed(report.data, changes, 'train', str(tmp_path / 'data'), str(tmp_path / 'out'))
    again = check(read_annotated(kind, 'train', str(tmp_path / 'out')))
    assert kinds.DOUBLED not in again.by_kind() and len(again.fitted.items) == 3
    assert [note for note in changes.notes if 'its box is that of an earlier object now' in note]


def test_what_the_checker_does_not_know_stays_in_the_copy(tmp_path):
    for kind in FORMATS[:3]:
        source, out = damaged_set(kind, tmp_path / kind), tmp_path / ('out ' + kind)
        report = check(read_annotated(kind, 'train', str(source)))
        write_fixed(report.data, plan_changes(report), 'train', str(source), str(out))
    assert (tmp_path / 'out PascalVOC/Annotations/boxes.xml').read_text().count('<pose>Left</pose>') == 3
    assert '<owner>me</owner>' in (tmp_path / 'out PascalVOC/Annotations/fine.xml').read_text()
    data = json.loads((tmp_path / 'out coco/train.json').read_text())
    assert data['info'] == 'mine' and {image['licence'] for image in data['images']} == {7}
    assert len(data['annotations']) == 6 and {annotation['score'] for annotation in data['annotations']} == {4}
    rows = (tmp_path / 'out csv/train.csv').read_text().splitlines()
    assert rows[0] == 'image,x1,y1,x2,y2,class,width,height,by' and 'boxes.png,30,20,39,29,dog,40,30,me' in rows


def test_faults_of_the_files_themselves_are_found(tmp_path, voc):
    voc.add('a', [('cat', 2, 3, 11, 12)]).add('b', [('cow', 2, 3, 11, 12)]).add('c').add('d', [('cat', 2, 3, 11, 12)])
    voc.list_images('train', ['a', 'b', 'c', 'd', 'a', '../x'])
    (voc.folder / 'Annotations/c.xml').write_text('<annotation>')
    (voc.folder / 'Annotations/d.xml').write_text('<annotation><object><name>cat</name></object></annotation>')
    report = check(read_annotated('PascalVOC', 'train', str(voc.folder), ['cat', 'dog']))
    found = {kind: [fault.index for fault in faults] for kind, faults in report.by_kind().items()}
    assert found == {kinds.ANNOTATION: ['c'], kinds.ITEM_FAULT: ['d'], kinds.NAME: ['../x'], kinds.LABEL: ['b'],
                     kinds.LISTED_TWICE: ['a'],
                     kinds.SAME_IMAGE: ['b', 'c', 'd'], kinds.ABSENT: ['']}
    assert class_counts(report.data) == {'cat': (1, 1), 'dog': (0, 0), 'cow': (1, 1)}
    stopping = [fault.kind for fault in report.stopping()]
    assert sorted(stopping) == sorted([kinds.ANNOTATION, kinds.ITEM_FAULT, kinds.NAME, kinds.LABEL])
    assert kinds.LABEL not in [fault.kind for fault in report.stopping(on_unknown_class='ignore')]
    write_fixed(report.data, plan_changes(report), 'train', str(voc.folder), str(tmp_path / 'out'))
    again = check(read_annotated('PascalVOC', 'train', str(tmp_path / 'out'), ['cat', 'dog']))
    assert [fault.kind for fault in again.stopping()] == [kinds.LABEL]      # only you know what a cow shall be


def test_bad_items_of_a_json_are_all_found_and_left_out_of_the_copy(tmp_path):
    folder = damaged_set('coco', tmp_path / 'data')
    data = json.loads((folder / 'train.json').read_text())
    data['images'] += [dict(data['images'][0]), {'id': 99}]
    data['annotations'] += [{'image_id': 77, 'category_id': 1, 'bbox': [1, 2, 3, 4]},
                            {'image_id': 0, 'category_id': 1, 'bbox': 'x'}]
    (folder / 'train.json').write_text(json.dumps(data))
    report = check(read_annotated('coco', 'train', str(folder)))
    found = {kind: len(faults) for kind, faults in report.by_kind().items()}
    assert (found[kinds.DUPLICATE_ID], found[kinds.ANNOTATION], found[kinds.ITEM_FAULT]) == (1, 1, 2)
    write_fixed(report.data, plan_changes(report), 'train', str(folder), str(tmp_path / 'out'))
    assert check(read_annotated('coco', 'train', str(tmp_path / 'out'))).stopping() == []


def test_the_cleaned_copy_keeps_what_training_keeps_by_a_shorter_least_side(tmp_path):
    # The first box reaches one pixel into the image, the second has a width of one; the images are 40 x 30.
    write_image(write_set('csv', tmp_path / 'data', 'train', {'a': (
        [GOOD, ('cat', 39, 5, 45, 20), ('dog', 8, 8, 8, 20)], (40, 30))}) / 'a.png', 1)
    for least, boxes in ((1, [[5, 6, 15, 16], [39, 5, 39, 20], [8, 8, 8, 20]]), (2, [[5, 6, 15, 16]])):
        report = check(read_annotated('csv', 'train', str(tmp_path / 'data')), min_side=least)
        assert ('tiny box: 2 (thinner than 2 pixels: dropped)' in set_text(report)) == (least == 2)
        out = tmp_path / str(least)
        write_fixed(report.data, plan_changes(report), 'train', str(tmp_path / 'data'), str(out))
        entry, = make_dataset('csv', 'train', str(out), min_box_side=least).gt_roidb()
        assert entry['boxes'].tolist() == boxes


def test_a_line_of_a_csv_list_that_ends_before_the_name_of_its_image_is_left_out_of_the_copy(tmp_path):
    write_image(tmp_path / 'data' / 'a.png', 1)
    head = 'x1,y1,x2,y2,class,image\n5,6,15,16,cat,a.png\n'
    (tmp_path / 'data' / 'train.csv').write_text(head + '1,2,3,4,car\n')
    report = check(read_annotated('csv', 'train', str(tmp_path / 'data')))
    write_fixed(report.data, plan_changes(report), 'train', str(tmp_path / 'data'), str(tmp_path / 'out'))
    assert (tmp_path / 'out' / 'train.csv').read_bytes().decode() == head.replace('\n', '\r\n')


def test_under_the_release_s_rule_only_what_it_drops_is_a_fault(tmp_path):
    images = write_set('coco', tmp_path, 'train', {'a': ([GOOD, ('cat', -4, 6, 5, 16), ('dog', 8, 8, 8, 20),
                                                         ('dog', 1, 1, 9, 9)], (40, 30))})
    write_image(images / 'a.png', 1)
    data = json.loads((tmp_path / 'train.json').read_text())
    data['annotations'][3]['area'] = 0
    (tmp_path / 'train.json').write_text(json.dumps(data))
    report = check(read_annotated('coco', 'train', str(tmp_path)), rule=RELEASE)
    assert 'box outside the image: 1 (or of a stated area of 0: dropped)\n' in set_text(report)
    assert [(fault.kind, fault.number) for fault in report.faults] == [(kinds.OUTSIDE, 3)]
    assert plan_changes(report).boxes == {'0': {3: None}}


def test_unreadable_images_stop_training_unless_they_are_skipped(tmp_path):
    report = check(read_annotated('csv', 'train', str(damaged_set('csv', tmp_path / 'data'))))
    assert [fault.kind for fault in report.stopping('error')] == [kinds.MISSING, kinds.IMAGE, kinds.SIZE]
    assert [fault.kind for fault in report.stopping('skip')] == [kinds.MISSING]


def test_an_image_on_its_side_is_told_apart_and_its_size_is_not_corrected(tmp_path):
    images = write_set('csv', tmp_path, 'train', {'a': ([GOOD, ('dog', 5, 32, 20, 38)], (30, 40))})
    write_image(images / 'a.png', 1)
    report = check(read_annotated('csv', 'train', str(tmp_path)))
    fault, = report.faults      # the box of the dog is none: it is inside the image as annotated, not as it lies there
    assert 'It lies on its side: boxes must refer to the pixels as stored, before any EXIF' in fault.text
    changes = plan_changes(report)
    assert changes.sizes == changes.boxes == {} and changes.notes[0].startswith('not changed: ')
    assert report.sizes[report.fitted.owners[report.usable()]].tolist() == [[30, 40]] * 2


def test_an_image_that_is_too_large_is_a_fault(tmp_path):
    images = write_set('csv', tmp_path, 'train', {'a': ([GOOD], (40, 30))})
    write_image(images / 'a.png', 1)
    report = check(read_annotated('csv', 'train', str(tmp_path)), max_pixels=1000)
    assert 'more than the limit of 1000 pixels' in report.by_kind()[kinds.IMAGE][0].text


def test_images_in_two_sets_are_found_by_their_pixels(tmp_path):
    sets = {}
    for name in ('train', 'test'):
        images = write_set('csv', tmp_path / name, name, {'a': ([GOOD], (40, 30)), 'b': ([GOOD], (40, 30))})
        write_image(images / 'a.png', 1 if name == 'train' else 2)
        write_image(images / 'b.png', 3)
        sets[name] = read_annotated('csv', name, str(tmp_path / name))
    shutil.copy(str(tmp_path / 'train/images/a.png'), str(tmp_path / 'copy.png'))
    cv2.imwrite(str(tmp_path / 'test/images/a.png'), cv2.imread(str(tmp_path / 'copy.png')),
                [cv2.IMWRITE_PNG_COMPRESSION, 1])
    found = {name: check_images(data) for name, data in sets.items()}
    faults = shared_images(sets['train'], found['train'], sets['test'], found['test'])
    assert [fault.index for fault in faults] == ['a.png', 'b.png']      # another file, the same pixels
    assert 'train_train' in faults[0].text and 'test_test' in faults[0].text


def test_a_copy_with_other_objects_is_told(tmp_path):
    for name in 'abc':
        write_image(tmp_path / (name + '.png'), 1)
    (tmp_path / 'train.csv').write_text('a.png,1,2,30,20,cat\nb.png,,,,,\nc.png,1,2,30,20,cat\n')
    faults = check(read_annotated('csv', 'train', str(tmp_path))).by_kind()[kinds.SAME_IMAGE]
    assert [fault.text.replace(str(tmp_path), '') for fault in faults] == [
        '/b.png shows the same as /a.png, with other objects: those of one are background to the other',
        '/c.png shows the same as /a.png']


def test_one_file_in_two_sets_or_twice_in_one_is_found_by_its_header_too(tmp_path):
    write_image(tmp_path / 'a.png', 1)
    write_image(tmp_path / 'c.png', 1)       # a copy: only its pixels would tell
    (tmp_path / 'link.png').symlink_to('a.png')
    os.link(str(tmp_path / 'a.png'), str(tmp_path / 'hard.png'))
    sets, found = {}, {}
    for name, images in (('train', 'ac'), ('test', ('a', 'link', 'hard'))):
        (tmp_path / (name + '.csv')).write_text(''.join('%s.png,1,2,30,20,cat\n' % image for image in images))
        sets[name] = read_annotated('csv', name, str(tmp_path))
        found[name] = check_images(sets[name], decode=False)
    faults = shared_images(sets['test'], found['test'], sets['train'], found['train'])
    assert [fault.index for fault in faults] == ['a.png', 'link.png', 'hard.png']
    assert [fault.index for fault in same_images(sets['test'], found['test'])] == ['link.png', 'hard.png']


def test_files_without_numbers_are_not_taken_for_one(tmp_path, monkeypatch):
    """Some file systems number none."""
    write_image(tmp_path / 'a.png', 1)
    write_image(tmp_path / 'b.png', 2)
    (tmp_path / 'train.csv').write_text('a.png,1,2,30,20,cat\nb.png,1,2,30,20,cat\n')
    data, state = read_annotated('csv', 'train', str(tmp_path)), os.stat
    monkeypatch.setattr(os, 'stat', lambda *args, **more: os.stat_result(
        [state(*args, **more).st_mode, 0, *state(*args, **more)[2:]]))
    assert not same_images(data, check_images(data, decode=False))


def test_a_class_of_which_no_object_is_used_is_told(tmp_path):
    write_image(tmp_path / 'a.png', 1)
    (tmp_path / 'train.csv').write_text('image,x1,y1,x2,y2,class,difficult\na.png,5,6,15,16,cat,0\n'
                                        'a.png,9,9,20,20,dog,1\na.png,9,9,9,9,dog,0\n')
    (tmp_path / 'classes.txt').write_text('cat\ndog\ncow\n')
    found = check(read_annotated('csv', 'train', str(tmp_path))).by_kind()[kinds.ABSENT]
    assert [fault.text.partition(': ')[2] for fault in found] == [
        "the class 'dog' has no object that is used, of 2", "the class 'cow' has no object"]


def test_class_names_that_differ_in_upper_case_or_blanks_alone_are_told(tmp_path):
    write_image(tmp_path / 'a.png', 0)
    (tmp_path / 'train.csv').write_text('a.png,1,2,30,20,red cell\na.png,5,6,30,20,Red cell\na.png,5,6,30,22,redcell\n'
                                        'a.png,5,6,30,22,red\n')
    found = check(read_annotated('csv', 'train', str(tmp_path))).by_kind()
    assert [fault.text.partition(': ')[2] for fault in found[kinds.ALIKE]] == [
        "the classes 'Red cell' and 'red cell' are two: correct the labels if they mean the same",
        "the classes 'Red cell' and 'redcell' are two: correct the labels if they mean the same"]


def test_class_names_that_differ_in_their_unicode_form_or_a_point_alone_are_told(tmp_path):
    write_image(tmp_path / 'a.png', 0)
    lines = ['a.png,1,2,30,20,' + name for name in ('caf\u00e9', 'cafe\u0301', '1', '1.0', '10', 'v1.0', 'v1')]
    (tmp_path / 'train.csv').write_text('\n'.join(lines), encoding='utf-8')
    found = check(read_annotated('csv', 'train', str(tmp_path))).by_kind()[kinds.ALIKE]
    assert [fault.text.count(' are two: ') for fault in found] == [1, 1] and "'1' and '1.0'" in found[0].text


def test_a_set_in_voc_s_layout_without_annotations_is_named(voc):
    voc.add('a', [('cat', 1, 2, 30, 20)])
    shutil.rmtree(str(voc.folder / 'Annotations'))
    with pytest.raises(FileNotFoundError, match='Annotations: there is no such folder; expected an XML file'):
        read_annotated('PascalVOC', 'train', str(voc.folder))


def test_an_unknown_format_is_refused_with_the_known_ones():
    with pytest.raises(DatasetError, match="dataset.dataset: expected one of PascalVOC, coco, csv, yolo, found 'voc'"):
        read_annotated('voc', 'train', '.')
