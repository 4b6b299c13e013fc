"""What the demo found, in files: JSON lines and the formats of COCO, VOC and YOLO."""
import json
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from lib.dataset.voc_eval import read_detections
from lib.errors import DatasetError
from tests.conftest import ROOT
from tests.rfcn.demo.conftest import lines_of


def test_objects_are_written_as_lines_of_json(run, picture, tmp_path):
    run('--image', picture, '--json', str(tmp_path / 'found.jsonl'), '--thresh', '0.1')
    lines = lines_of(tmp_path / 'found.jsonl')
    assert [line['score'] for line in lines] == sorted((line['score'] for line in lines), reverse=True)
    for line in lines:
        assert list(line) == ['image', 'class_name', 'score', 'box'] and line['image'] == picture
        assert line['class_name'] in ('red', 'blue') and 0.1 <= line['score'] <= 1
        x1, y1, x2, y2 = line['box']
        assert 0 <= x1 <= x2 <= 95 and 0 <= y1 <= y2 <= 63


def test_a_picture_without_objects_has_a_line(run, picture, tmp_path):
    run('--image', picture, '--json', str(tmp_path / 'found.jsonl'), '--thresh', '1')
    assert lines_of(tmp_path / 'found.jsonl') == [{'image': picture, 'class_name': None, 'score': None, 'box': None}]


def test_a_coco_file_named_minus_is_all_of_the_standard_output(run, picture, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    run('--image', picture, '--thresh', '1', '--coco', '-')
    assert len(json.loads(capfd.readouterr().out)['images']) == 1
    assert not (tmp_path / '-').exists()


@pytest.mark.parametrize('more', [['--json', 'IMAGE'], ['--coco', 'IMAGE'], ['--json', 'a.json', '--coco', 'a.json']])
def test_an_image_is_not_replaced_by_what_was_found_in_it(run, picture, tmp_path, monkeypatch, more):
    image = tmp_path / 'a.jpg'
    shutil.copy(picture, str(image))
    before = image.read_bytes()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DatasetError, match='this file is read, or another option writes it'):
        run('--image', str(image), *(str(image) if word == 'IMAGE' else word for word in more))
    assert image.read_bytes() == before


def test_a_video_is_not_replaced_by_what_was_found_in_it_under_another_name(run, tmp_path):
    video, link = tmp_path / 'a.avi', tmp_path / 'link'
    video.write_bytes(b'a video')
    link.symlink_to(video)
    with pytest.raises(DatasetError, match='link: this file is read, or another option writes it'):
        run('--video', str(video), '--json', str(link))
    assert video.read_bytes() == b'a video'


@pytest.mark.parametrize('given', ['--cfg', '--params'])
@pytest.mark.parametrize('option', ['--json', '--coco'])
def test_neither_configuration_nor_checkpoint_is_replaced_and_an_earlier_file_is(run, picture, tiny_arguments, tmp_path,
                                                                                 given, option):
    path = tmp_path / 'file'
    shutil.copy(tiny_arguments[tiny_arguments.index(given) + 1], str(path))
    before = path.read_bytes()
    with pytest.raises(DatasetError, match='file: this file is read'):
        run('--image', picture, given, str(path), option, str(path))
    assert path.read_bytes() == before
    run('--image', picture, option, str(path))
    assert picture in path.read_text()


def test_pictures_of_the_same_name_in_other_folders_are_two_in_each_format(run, picture, tmp_path):
    (tmp_path / 'other').mkdir()
    pictures = [picture, str(tmp_path / 'other' / 'wide1.jpg')]
    shutil.copy(*pictures)
    run('--image', pictures[0], '--image', pictures[1], '--thresh', '0.1', '--voc', str(tmp_path / 'voc'), '--yolo',
        str(tmp_path / 'yolo'))
    assert (tmp_path / 'voc' / 'images.txt').read_text().split() == ['wide1', 'wide1_2']
    assert {path.name for path in (tmp_path / 'yolo').iterdir()} == {'classes.txt', 'wide1.txt', 'wide1_2.txt'}
    found = [read_detections(str(path)) for path in (tmp_path / 'voc').glob('comp4_*')]
    assert any(found) and all(np.array_equal(each.get('wide1'), each.get('wide1_2')) for each in found if each)


def test_objects_are_written_in_the_formats_of_coco_voc_and_yolo(run, tiny_voc, tmp_path):
    pictures = [str(tiny_voc / 'JPEGImages' / name) for name in ('wide1.jpg', 'empty.jpg')]
    run('--image', pictures[0], '--image', pictures[1], '--thresh', '0.1', '--json', str(tmp_path / 'found.jsonl'),
        '--coco', str(tmp_path / 'found.json'), '--voc', str(tmp_path / 'voc'), '--yolo', str(tmp_path / 'yolo'))
    lines = [line for line in lines_of(tmp_path / 'found.jsonl') if line['image'] == pictures[0] and line['box']]
    assert lines
    index = COCO(str(tmp_path / 'found.json'))
    assert [(index.imgs[i]['file_name'], index.imgs[i]['width']) for i in (1, 2)] == [(pictures[0], 96),
                                                                                      (pictures[1], 80)]
    of_first = index.loadAnns(index.getAnnIds(imgIds=[1]))
    for annotation, line in zip(of_first, lines):
        x1, y1, x2, y2 = line['box']
        assert annotation['bbox'] == pytest.approx([x1, y1, x2 - x1 + 1, y2 - y1 + 1], abs=0.02)
        assert index.cats[annotation['category_id']]['name'] == line['class_name']
    for name in 'red', 'blue':
        found = read_detections(str(tmp_path / 'voc' / ('comp4_det_demo_%s.txt' % name)))
        expected = [line['box'] + [line['score']] for line in lines if line['class_name'] == name]
        np.testing.assert_allclose(found.get('wide1', np.zeros((0, 5))).reshape(-1, 5),
                                   np.reshape(expected, (-1, 5)), atol=0.02)
    assert (tmp_path / 'voc' / 'images.txt').read_text().split() == ['wide1', 'empty']
    classes = (tmp_path / 'yolo' / 'classes.txt').read_text().split()
    rows = [row.split() for row in (tmp_path / 'yolo' / 'wide1.txt').read_text().splitlines()]
    assert len(rows) == len(lines) and (tmp_path / 'yolo' / 'empty.txt').exists()
    for row, line in zip(rows, lines):
        x, y, width, height, score = map(float, row[1:])
        assert classes[int(row[0])] == line['class_name'] and score == pytest.approx(line['score'], abs=1e-5)
        x1, y1, x2, y2 = line['box']
        np.testing.assert_allclose([x * 96 - width * 48, y * 64 - height * 32], [x1, y1], atol=0.02)
        np.testing.assert_allclose([width * 96, height * 64], [x2 - x1 + 1, y2 - y1 + 1], atol=0.02)


def test_formats_of_images_are_not_for_videos(run, video, tmp_path):
    with pytest.raises(DatasetError, match='--coco, --voc and --yolo are for images'):
        run('--video', video, '--coco', str(tmp_path / 'found.json'))


def test_a_file_of_objects_that_cannot_be_written_is_named(run, video):
    with pytest.raises(OSError) as error:
        run('--video', video, '--json', video + '/found.jsonl')
    assert error.value.filename.startswith(video + '/found.jsonl')


def test_from_any_folder_lines_of_json_go_to_the_standard_output_and_the_log_elsewhere(tiny_arguments, picture,
                                                                                       tmp_path):
    (tmp_path / 'lib').mkdir()      # a folder of this name must not get in the way
    done = subprocess.run([sys.executable, str(ROOT / 'rfcn' / 'demo.py'), *tiny_arguments, '--image', picture, '--out',
                           'drawn', '--json', '-', '--thresh', '0'], cwd=str(tmp_path), capture_output=True, check=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines and all(line['image'].endswith('wide1.jpg') for line in lines) and b'drawn in' in done.stderr
    assert cv2.imread(str(tmp_path / 'drawn' / 'wide1.png')).shape == (64, 96, 3)
