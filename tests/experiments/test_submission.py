"""Archives for the test servers."""
import gzip
import io
import json
import os
import tarfile
import zipfile

import numpy as np
import pytest

from experiments import submission
from lib.dataset.voc import VOC_CLASSES
from lib.dataset.voc_eval import detections_path, write_detections
from lib.errors import DatasetError, UserError
from lib.utils.limits import NoInput


@pytest.fixture
def voc_results(tmp_path):
    """The folder of a test on VOC2012, with one detection of a cat."""
    main = tmp_path / 'results' / 'VOC2012' / 'Main'
    main.mkdir(parents=True)
    for name in VOC_CLASSES:
        dets = [('2008_000001', np.array([[0, 0, 9, 9, 0.5]]))] if name == 'cat' else []
        write_detections({detections_path(str(main), 'test', name): dets})
    return tmp_path


def test_the_archive_for_the_voc_server_has_a_file_for_each_class(voc_results):
    out = voc_results / 'voc.tar.gz'
    (voc_results / 'results' / 'VOC2012' / 'Main' / 'notes.txt').write_text('not for the server')
    assert submission.make_archive(voc_results, out) == 1
    with tarfile.open(str(out)) as archive:
        expected = ['results/VOC2012/Main/comp4_det_test_%s.txt' % name for name in VOC_CLASSES]
        assert sorted(archive.getnames()) == sorted(expected)
        text = archive.extractfile('results/VOC2012/Main/comp4_det_test_cat.txt').read().decode()
    assert text == '2008_000001 0.5 1.0 1.0 10.0 10.0\n'  # the server counts pixels from 1


def test_a_class_without_a_file_is_named(voc_results):
    (voc_results / 'results' / 'VOC2012' / 'Main' / 'comp4_det_test_dog.txt').unlink()
    with pytest.raises(DatasetError, match='no detections of dog; the server wants a file for each class'):
        submission.main(['--results', str(voc_results), '--out', str(voc_results / 'voc.tar.gz')])


def test_the_archive_for_the_coco_server_has_the_name_that_it_wants(tmp_path, capsys):
    result = {'image_id': 1, 'category_id': 18, 'bbox': [1.0, 2.0, 3.0, 4.0], 'score': 0.5}
    (tmp_path / 'detections_test-dev2015_results.json').write_text(json.dumps([result]))
    submission.main(['--results', str(tmp_path), '--out', str(tmp_path / 'coco.zip'), '--name', 'mine'])
    assert 'coco.zip: 1 detections' in capsys.readouterr().out
    with zipfile.ZipFile(str(tmp_path / 'coco.zip')) as archive:
        assert archive.namelist() == ['detections_test-dev2015_mine_results.json']
        assert json.loads(archive.read(archive.namelist()[0]).decode()) == [result]


def test_an_archive_never_takes_the_place_of_results(voc_results):
    path = voc_results / 'results' / 'VOC2012' / 'Main' / 'comp4_det_test_cat.txt'
    path.write_text('2008_000001 0.5 1.0 1.0 10.0 10.0\n')
    with pytest.raises(UserError, match='this file is read'):
        submission.main(['--results', str(voc_results), '--out', str(path)])
    assert path.read_text() == '2008_000001 0.5 1.0 1.0 10.0 10.0\n'
    for _ in range(2):
        submission.main(['--results', str(voc_results), '--out', str(voc_results / 'voc.tar.gz')])


def test_a_coco_archive_never_takes_the_place_of_results_and_is_whole_or_not_there(tmp_path, monkeypatch):
    results, out = tmp_path / 'detections_val2014_results.json', tmp_path / 'coco.zip'
    results.write_text('[]')
    with pytest.raises(UserError, match='this file is read'):
        submission.main(['--results', str(tmp_path), '--out', str(results)])
    assert results.read_text() == '[]' and submission.make_archive(tmp_path, out) == 0
    before = out.read_bytes()

    def full(self, *_):
        raise OSError(28, 'No space left on device')
    monkeypatch.setattr(zipfile.ZipFile, 'write', full)
    with pytest.raises(OSError, match='coco.zip could not be written'):
        submission.make_archive(tmp_path, out)
    assert out.read_bytes() == before


def test_results_of_several_sets_are_refused(voc_results, tmp_path_factory):
    coco = tmp_path_factory.mktemp('coco')
    for name in 'test-dev2015', 'test2015':
        (coco / ('detections_%s_results.json' % name)).write_text('[]')
    with pytest.raises(DatasetError, match='one image set, found detections_test-dev2015_results.json, detections_te'):
        submission.make_archive(coco, coco / 'x.zip')
    (voc_results / 'results' / 'VOC2007' / 'Main').mkdir(parents=True)
    with pytest.raises(DatasetError, match='expected one folder results/VOC2012/Main, found 2'):
        submission.make_archive(voc_results, voc_results / 'x.tar.gz')


def test_what_is_no_result_is_refused(tmp_path):
    with pytest.raises(DatasetError, match='no results of rfcn test there'):
        submission.main(['--results', str(tmp_path), '--out', str(tmp_path / 'x')])
    for text in '[{"image_id": 1}]', '[{"image':
        (tmp_path / 'detections_val2014_results.json').write_text(text)
        with pytest.raises(DatasetError, match='expected a list of results with bbox, category_id, image_id, score'):
            submission.main(['--results', str(tmp_path), '--out', str(tmp_path / 'x')])


def test_an_archive_is_whole_or_not_there_and_a_link_to_it_stays(voc_results):
    link, target = voc_results / 'link.tar.gz', voc_results / 'voc.tar.gz'
    link.symlink_to(target)
    assert submission.make_archive(voc_results, link) == 1
    before = target.read_bytes()
    broken = voc_results / 'results' / 'VOC2012' / 'Main' / 'comp4_det_test_train.txt'
    broken.write_text('2008_000001 0.5 1.0\n')
    with pytest.raises(DatasetError, match='comp4_det_test_train.txt: line 1'):
        submission.make_archive(voc_results, link)
    assert link.is_symlink() and target.read_bytes() == before
    assert sorted(path.name for path in voc_results.iterdir()) == ['link.tar.gz', 'results', 'voc.tar.gz']


def test_standard_output_gets_the_archive_and_nothing_else(voc_results, capfdbinary):
    submission.main(['--results', str(voc_results), '--out', '-'])
    archive, said = capfdbinary.readouterr()
    with tarfile.open(fileobj=io.BytesIO(archive)) as found:
        assert len(found.getnames()) == len(VOC_CLASSES)
    assert gzip.decompress(archive) and said == b'-: 1 detections\n'


def test_a_pipe_in_the_place_of_results_is_not_waited_for(tmp_path):
    os.mkfifo(str(tmp_path / 'detections_val2014_results.json'))
    with pytest.raises(NoInput, match='named pipe'):
        submission.make_archive(tmp_path, tmp_path / 'x.zip')
