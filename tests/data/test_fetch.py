"""The fetch scripts against a server on loopback: no other network is used."""
import json
import os
import shutil
import subprocess
import sys

import pytest

from data import archives, download, fetch
from data.archives import Archive, is_split, split_minival
from data.download import FetchError
from lib.utils import folders
from lib.utils.limits import NoInput
from tests.data.conftest import QUICK, make_tar, make_zip, md5_of
from tests.data.test_archives import coco_json
from tests.data.test_download import Usage


def voc_archive(server, content=None, md5=None):
    """A small VOC archive on the server."""
    content = content or make_tar({'VOCdevkit/VOC2007/ImageSets/Main/test.txt': b'000001\n',
                                   'VOCdevkit/VOC2007/JPEGImages/000001.jpg': bytes(range(256)) * 40})
    server.files['/voc.tar'] = content
    evidence = 'VOCdevkit/VOC2007/ImageSets/Main/test.txt'
    return Archive(server.url + '/voc.tar', md5 or md5_of(content), 0, 0, '', evidence)


def test_an_archive_is_loaded_checked_and_unpacked_and_a_second_call_does_nothing(server, tmp_path):
    archive = voc_archive(server)
    assert fetch.fetch([archive], str(tmp_path), **QUICK) == ['voc.tar']
    assert (tmp_path / 'VOCdevkit/VOC2007/JPEGImages/000001.jpg').read_bytes() == bytes(range(256)) * 40
    assert list((tmp_path / 'downloads').iterdir()) == []
    assert fetch.fetch([archive], str(tmp_path), **QUICK) == []
    assert len(server.requests) == 1


def test_a_second_fetch_at_once_is_refused_and_what_is_there_is_not_locked(server, tmp_path, monkeypatch):
    archive = voc_archive(server)
    with folders.locked_folder(tmp_path), monkeypatch.context() as other_process:
        other_process.setattr(folders, '_held', set())
        with pytest.raises(folders.FolderInUse):
            fetch.fetch([archive], str(tmp_path), **QUICK)
    assert server.requests == [] and fetch.fetch([archive], str(tmp_path), **QUICK) == ['voc.tar']
    monkeypatch.setattr(fetch, 'locked_folder', None)
    assert fetch.fetch([archive], str(tmp_path), **QUICK) == []


def test_what_was_removed_since_is_fetched_again(server, tmp_path):
    archive = voc_archive(server)
    fetch.fetch([archive], str(tmp_path), **QUICK)
    shutil.rmtree(str(tmp_path / 'VOCdevkit'))
    assert fetch.fetch([archive], str(tmp_path), **QUICK) == ['voc.tar']


def test_a_cut_connection_is_taken_up_where_it_ended(server, tmp_path):
    archive = voc_archive(server)
    server.cuts = [1000, 500]
    fetch.fetch([archive], str(tmp_path), **QUICK)
    assert [asked for _, asked in server.requests] == [None, 'bytes=1000-', 'bytes=1500-']


def test_a_wrong_checksum_is_reported_and_the_file_removed(server, tmp_path):
    archive = voc_archive(server, md5='0' * 32)
    with pytest.raises(FetchError, match='MD5 sum should be 0{32} and is [0-9a-f]{32}.*--mirror'):
        fetch.fetch([archive], str(tmp_path), **QUICK)
    assert list((tmp_path / 'downloads').iterdir()) == []
    assert not (tmp_path / 'VOCdevkit').exists()


@pytest.mark.parametrize('name', ['voc.tar', 'voc.tar.part'])
def test_a_pipe_in_the_place_of_an_archive_is_not_waited_for(server, tmp_path, name):
    (tmp_path / 'downloads').mkdir()
    os.mkfifo(str(tmp_path / 'downloads' / name))
    with pytest.raises(NoInput, match='a regular file is expected, this is a named pipe'):
        fetch.fetch([voc_archive(server)], str(tmp_path), **QUICK)


def test_a_zip_without_checksum_is_checked_by_its_crc(server, tmp_path):
    content = make_zip({'annotations/instances_val2014.json': b'0123456789' * 100})
    server.files['/a.zip'] = content.replace(b'0123456789', b'0123456798', 1)
    archive = Archive(server.url + '/a.zip', None, 0, 0, 'coco', 'coco/annotations/instances_val2014.json')
    with pytest.raises(FetchError, match='a.zip is damaged .*CRC.* and was removed'):
        fetch.fetch([archive], str(tmp_path), **QUICK)
    assert not fetch.is_there(archive, str(tmp_path)) and list((tmp_path / 'downloads').iterdir()) == []


def test_too_little_space_is_said_before_anything_is_loaded(server, tmp_path, monkeypatch):
    archive = voc_archive(server)._replace(megabytes=460, unpacked=460)
    monkeypatch.setattr(download.shutil, 'disk_usage', lambda folder: Usage(10 ** 9, 10 ** 8, 9 * 10 ** 8))
    with pytest.raises(FetchError, match='needs 921 MB and the disk has 900 MB left'):  # 460 + 460 = 920
        fetch.fetch([archive], str(tmp_path), **QUICK)
    assert server.requests == []


def test_space_is_needed_for_all_that_is_unpacked_and_the_largest_archive(tmp_path):
    small, large = Archive('a', None, 10, 40, '', ''), Archive('b', None, 30, 30, '', '')
    assert fetch.space_needed([small, large], str(tmp_path), keep=False) == (40 + 30 + 30) * 10 ** 6
    assert fetch.space_needed([small, large], str(tmp_path), keep=True) == (40 + 30 + 10 + 30) * 10 ** 6


def test_no_space_is_needed_for_what_is_loaded_already(tmp_path):
    small, large = Archive('f/a', None, 1, 4, '', ''), Archive('f/b', None, 3, 3, '', '')
    (tmp_path / 'downloads').mkdir()
    (tmp_path / 'downloads' / 'a').write_bytes(bytes(1100000))          # a little more than its rounded size
    (tmp_path / 'downloads' / 'b.part').write_bytes(bytes(2500000))
    for keep in (False, True):                                          # 0.5 MB of b, and 4 + 3 MB unpacked
        assert fetch.space_needed([small, large], str(tmp_path), keep) == 7500000


def test_an_archive_that_the_user_put_into_downloads_is_used(server, tmp_path):
    archive = voc_archive(server)
    (tmp_path / 'downloads').mkdir()
    (tmp_path / 'downloads/voc.tar').write_bytes(server.files['/voc.tar'])
    assert fetch.fetch([archive], str(tmp_path), keep=True, **QUICK) == ['voc.tar']
    assert server.requests == [] and (tmp_path / 'downloads/voc.tar').exists()


def test_an_archive_of_another_content_is_reported(server, tmp_path):
    archive = voc_archive(server, make_tar({'readme.txt': b'moved'}))
    with pytest.raises(FetchError, match='1 files, but VOCdevkit/VOC2007/ImageSets/Main/test.txt is not there'):
        fetch.fetch([archive], str(tmp_path), **QUICK)


@pytest.fixture
def small_coco(server, monkeypatch):
    """COCO's annotations of both years with five images, in place of the real archives; the mirror has them."""
    def replaced(archive, identifiers):
        name = fetch.name_of(archive)
        content = make_zip({archive.evidence[len('coco/'):]: json.dumps(coco_json(identifiers))})
        server.files['/mirror/' + name] = content
        return archive._replace(md5=md5_of(content), megabytes=0, unpacked=0)
    of_2014, of_2017 = archives.SETS['coco'][archives.MINIVAL]
    small = replaced(of_2014, range(5)), replaced(of_2017, [1, 3])
    monkeypatch.setitem(archives.SETS['coco'], archives.MINIVAL, small)
    monkeypatch.setattr(fetch, 'split_minival', lambda folder: split_minival(folder, counts=(2, 3)))
    return server.url + '/mirror/'


def test_the_script_fetches_from_a_mirror_splits_and_then_has_nothing_to_do(small_coco, server, tmp_path, capsys):
    arguments = ['coco', 'minival', '--folder', str(tmp_path), '--mirror', small_coco]
    fetch.main(arguments)
    assert 'fetched: annotations_trainval2014.zip, annotations_trainval2017.zip' in capsys.readouterr().out
    assert is_split(str(tmp_path / 'coco/annotations'))
    fetch.main(arguments)
    assert 'fetched: nothing, all is there' in capsys.readouterr().out
    assert len(server.requests) == 2


def test_a_dry_run_prints_what_would_be_fetched_and_loads_nothing(small_coco, server, tmp_path, capsys):
    fetch.main(['coco', '2014', 'minival', '--folder', str(tmp_path), '--dry-run'])
    printed = capsys.readouterr().out
    assert 'to fetch, 13511 MB http://images.cocodataset.org/zips/train2014.zip -> %s/coco/images' % tmp_path in printed
    assert 'md5 0da8c0bd3d6becc4dcb32757491aca88' in printed and 'to split' in printed
    assert server.requests == [] and list(tmp_path.iterdir()) == []


def test_an_address_without_the_archive_is_named(server, tmp_path, monkeypatch):
    monkeypatch.setitem(archives.SETS['voc'], '2012', (voc_archive(server),))
    with pytest.raises(FetchError, match='other/voc.tar: the server says HTTP Error 404'):
        fetch.main(['voc', '2012', '--folder', str(tmp_path), '--mirror', server.url + '/other'])


def test_an_unknown_set_is_refused_with_the_known_ones(capsys):
    with pytest.raises(SystemExit):
        fetch.main(['voc', '2011'])
    assert 'voc has no set 2011; there are 2007, 2012, 2012test' in capsys.readouterr().err


@pytest.mark.parametrize('script, image_set, address', [('get_voc.sh', '2007', 'VOCtest_06-Nov-2007.tar'),
                                                        ('get_coco.sh', '2014', 'annotations_trainval2014.zip')])
def test_the_shell_scripts_run_from_anywhere_without_any_package(tmp_path, script, image_set, address):
    path = fetch.Path(fetch.__file__).with_name(script)
    bare = tmp_path / 'python'
    bare.write_text('#!/bin/sh\nexec "%s" -S "$@"\n' % sys.executable)  # without site-packages
    bare.chmod(0o755)
    shown = subprocess.run([str(path), '--dry-run', '--folder', str(tmp_path), image_set], cwd=str(tmp_path),
                           env={'PATH': '/usr/bin:/bin', 'PYTHON': str(bare)}, timeout=60, check=True,
                           stdout=subprocess.PIPE, text=True).stdout
    assert address in shown
