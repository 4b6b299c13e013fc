"""The fetch scripts against a server on loopback: no other network is used."""
import collections
import hashlib
import io
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from data import archives, download, fetch
from data.archives import Archive, is_split, split_minival
from data.download import FetchError
from lib.utils import folders
from lib.utils.limits import NoInput

QUICK = dict(retries=3, timeout=5, pause=0.01)
Usage = collections.namedtuple('Usage', 'total used free')


class Handler(BaseHTTPRequestHandler):
    """Serves `server.files`; understands Range; cuts a connection after the next number of `server.cuts`."""

    def do_GET(self):
        content = self.server.files.get(self.path)
        if content is None:
            return self.send_error(404)
        asked = self.headers.get('Range')
        self.server.requests.append((self.path, asked))
        start = int(asked[len('bytes='):-1]) if asked and self.server.resumable else 0
        if start >= len(content):
            self.send_response(416)
            self.send_header('Content-Range', 'bytes */%d' % len(content))
            self.send_header('Content-Length', '0')
            return self.end_headers()
        self.send_response(206 if start else 200)
        if start:
            self.send_header('Content-Range', 'bytes %d-%d/%d' % (start, len(content) - 1, len(content)))
        self.send_header('Content-Length', str(len(content) - start))
        self.end_headers()
        end = start + self.server.cuts.pop(0) if self.server.cuts else len(content)
        self.wfile.write(content[start:end])

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    server.files, server.requests, server.cuts, server.resumable = {}, [], [], True
    server.url = 'http://127.0.0.1:%d' % server.server_port
    threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.01}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def make_tar(files, kind=tarfile.REGTYPE):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode='w') as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.type, info.linkname = len(content), kind, '/etc/passwd'
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def make_zip(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w') as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def md5_of(content):
    return hashlib.md5(content).hexdigest()


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


def test_a_second_call_goes_on_from_what_the_first_left(server, tmp_path):
    content = bytes(range(250))
    server.files['/a.zip'], server.cuts = content, [100, 0, 0]
    path = str(tmp_path / 'a.zip')
    with pytest.raises(FetchError, match=r'2 attempts in a row.*\(100 bytes\) stays in .*a\.zip\.part'):
        download.download(server.url + '/a.zip', path, retries=1, timeout=5, pause=0.01)
    server.cuts = []
    download.download(server.url + '/a.zip', path, md5=md5_of(content), **QUICK)
    assert server.requests[-1][1] == 'bytes=100-'
    assert (tmp_path / 'a.zip').read_bytes() == content and not (tmp_path / 'a.zip.part').exists()


def test_a_server_that_cannot_resume_is_read_from_the_start(server, tmp_path):
    server.files['/a'], server.cuts, server.resumable = b'x' * 300, [100], False
    download.download(server.url + '/a', str(tmp_path / 'a'), **QUICK)
    assert (tmp_path / 'a').read_bytes() == b'x' * 300


def test_a_mirror_may_be_a_folder_of_this_computer(tmp_path, monkeypatch):
    monkeypatch.delattr('urllib.response.addinfourl.status', raising=False)     # as in Python 3.8
    (tmp_path / 'a').write_bytes(b'x' * 300)
    (tmp_path / 'b.part').write_bytes(b'y' * 100)
    download.download((tmp_path / 'a').as_uri(), str(tmp_path / 'b'), **QUICK)
    assert (tmp_path / 'b').read_bytes() == b'x' * 300


@pytest.mark.parametrize('left', [b'x' * 300, b'y' * 400])
def test_a_part_that_is_whole_is_kept_and_one_that_is_too_long_is_loaded_anew(server, tmp_path, left):
    server.files['/a'] = b'x' * 300
    (tmp_path / 'a.part').write_bytes(left)
    download.download(server.url + '/a', str(tmp_path / 'a'), **QUICK)
    assert (tmp_path / 'a').read_bytes() == b'x' * 300
    assert len(server.requests) == (1 if len(left) == 300 else 2)


def test_a_wrong_checksum_is_reported_and_the_file_removed(server, tmp_path):
    archive = voc_archive(server, md5='0' * 32)
    with pytest.raises(FetchError, match='MD5 sum should be 0{32} and is [0-9a-f]{32}.*--mirror'):
        fetch.fetch([archive], str(tmp_path), **QUICK)
    assert list((tmp_path / 'downloads').iterdir()) == []
    assert not (tmp_path / 'VOCdevkit').exists()


def test_a_missing_file_is_reported_at_once_and_what_was_loaded_of_it_stays(server, tmp_path):
    (tmp_path / 'a.part').write_bytes(b'half')
    with pytest.raises(FetchError, match='nothing.tar: the server says HTTP Error 404.*another copy'):
        download.download(server.url + '/nothing.tar', str(tmp_path / 'a'), retries=50, timeout=5, pause=60)
    assert (tmp_path / 'a.part').read_bytes() == b'half'


@pytest.mark.parametrize('url', ['/folder/a', 'http://[b/a', 'http://b:c/a', 'b://c/a', 'http://b c/a',
                                 'file:///none/a', 'http://%s.org/a' % ('b' * 64)])
def test_an_address_that_is_none_is_refused_at_once(tmp_path, url):
    with pytest.raises(FetchError, match=re.escape(url) + ' cannot be loaded: .*Expected an address.*--mirror'):
        download.download(url, str(tmp_path / 'a'), retries=50, timeout=5, pause=60)


@pytest.mark.parametrize('name', ['voc.tar', 'voc.tar.part'])
def test_a_pipe_in_the_place_of_an_archive_is_not_waited_for(server, tmp_path, name):
    (tmp_path / 'downloads').mkdir()
    os.mkfifo(str(tmp_path / 'downloads' / name))
    with pytest.raises(NoInput, match='a regular file is expected, this is a named pipe'):
        fetch.fetch([voc_archive(server)], str(tmp_path), **QUICK)


def test_a_disk_that_fills_up_meanwhile_is_reported_at_once(server, tmp_path):
    server.files['/a'] = b'x' * 300
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, before[1]))
    try:
        with pytest.raises(FetchError, match=r'a: .*\. Make room for .*a\.part \(200 bytes are there\)'):
            download.download(server.url + '/a', str(tmp_path / 'a'), retries=50, timeout=5, pause=60)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    download.download(server.url + '/a', str(tmp_path / 'a'), **QUICK)
    assert (tmp_path / 'a').read_bytes() == b'x' * 300
    assert server.requests == [('/a', None), ('/a', 'bytes=200-')]      # it goes on where the disk was full


def test_a_server_that_is_away_is_reported_after_the_attempts(server, tmp_path):
    server.server_close()
    with pytest.raises(FetchError, match='3 attempts in a row'):
        download.download(server.url + '/a', str(tmp_path / 'a'), retries=2, timeout=5, pause=0.01)


@pytest.mark.parametrize('name', ['../evil.txt', 'a/../../evil.txt', '/evil.txt', '..\\evil.txt', 'C:/evil.txt'])
@pytest.mark.parametrize('make, suffix', [(make_tar, '.tar'), (make_zip, '.zip')])
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path, make, suffix, name):
    path = tmp_path / ('bad' + suffix)
    path.write_bytes(make({'good.txt': b'1', name: b'2'}))
    with pytest.raises(FetchError, match='leads out of the folder; refused, nothing was unpacked'):
        download.unpack(str(path), str(tmp_path / 'out'))
    assert list((tmp_path / 'out').iterdir()) == [] and not (tmp_path / 'evil.txt').exists()


@pytest.mark.parametrize('kind', [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_an_archive_are_refused(tmp_path, kind):
    path = tmp_path / 'bad.tar'
    path.write_bytes(make_tar({'link': b''}, kind))
    with pytest.raises(FetchError, match="member 'link' is a link or a device; refused"):
        download.unpack(str(path), str(tmp_path / 'out'))


def test_a_zip_without_checksum_is_checked_by_its_crc(server, tmp_path):
    content = make_zip({'annotations/instances_val2014.json': b'0123456789' * 100})
    server.files['/a.zip'] = content.replace(b'0123456789', b'0123456798', 1)
    archive = Archive(server.url + '/a.zip', None, 0, 0, 'coco', 'coco/annotations/instances_val2014.json')
    with pytest.raises(FetchError, match='a.zip is damaged .*CRC.* and was removed'):
        fetch.fetch([archive], str(tmp_path), **QUICK)
    assert not fetch.is_there(archive, str(tmp_path)) and list((tmp_path / 'downloads').iterdir()) == []


def test_a_damaged_tar_is_removed(tmp_path):
    path = tmp_path / 'a.tar'
    path.write_bytes(make_tar({'a': b'1' * 5000})[:3000])
    with pytest.raises(FetchError, match='a.tar is damaged'):
        download.unpack(str(path), str(tmp_path / 'out'))
    assert not path.exists()


def test_what_is_cut_short_leaves_whole_files_alone_and_a_note_until_all_is_unpacked(tmp_path, monkeypatch):
    path, out = tmp_path / 'a.tar', tmp_path / 'out'
    path.write_bytes(make_tar({'first': b'1' * 5000, 'second': b'2' * 5000}))
    out.mkdir()
    (out / 'second').write_bytes(b'as it was')

    def copy(source, file):
        content = source.read()
        file.write(content[:100])
        if content.startswith(b'2'):
            raise OSError(28, 'No space left on device')
        file.write(content[100:])
    with monkeypatch.context() as patched, pytest.raises(OSError, match='No space left'):
        patched.setattr(download.shutil, 'copyfileobj', copy)
        download.unpack(str(path), str(out))
    note = out / 'UNFINISHED-a.tar.txt'
    assert sorted(entry.name for entry in out.iterdir()) == [note.name, 'first', 'second']
    assert str(path) in note.read_text() and (out / 'second').read_bytes() == b'as it was'
    assert download.unpack(str(path), str(out)) == 2
    assert not note.exists() and (out / 'second').read_bytes() == b'2' * 5000


@pytest.mark.parametrize('size', ['abc', '-5', '-99999999999', '9' * 20, '1e3'])
def test_a_tar_with_a_size_that_no_file_has_is_damaged(tmp_path, size):
    path = tmp_path / 'a.tar'
    with tarfile.open(str(path), 'w', format=tarfile.PAX_FORMAT) as archive:
        for name, headers in ('first', {'size': size}), ('second', {}):
            info = tarfile.TarInfo(name)
            info.size, info.pax_headers = 5, headers
            archive.addfile(info, io.BytesIO(b'12345'))
    with pytest.raises(FetchError, match='a.tar is damaged'):
        download.unpack(str(path), str(tmp_path / 'out'))
    assert list((tmp_path / 'out').iterdir()) == []


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


def test_the_space_is_checked_again_with_the_servers_length_and_the_archives_contents(server, tmp_path, monkeypatch):
    content = make_zip({'a.json': b'0' * 3 * 10 ** 6})
    server.files['/a.zip'] = content
    monkeypatch.setattr(download.shutil, 'disk_usage', lambda folder: Usage(0, 0, 1000))
    with pytest.raises(FetchError, match='a.zip needs 4 MB and the disk has 0 MB left'):
        download.download(server.url + '/a.zip', str(tmp_path / 'a.zip'), **QUICK)
    (tmp_path / 'a.zip.part').write_bytes(content[:-1000])      # what is still to load has room
    download.download(server.url + '/a.zip', str(tmp_path / 'a.zip'), **QUICK)
    with pytest.raises(FetchError, match='unpacking a.zip needs 4 MB'):
        download.unpack(str(tmp_path / 'a.zip'), str(tmp_path / 'out'))


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


def coco_json(identifiers):
    return {'images': [{'id': i} for i in identifiers],
            'annotations': [{'id': 10 * i, 'image_id': i} for i in identifiers],
            'categories': [{'id': 1, 'name': 'person'}]}


def test_minival_is_what_val2017_holds_of_val2014(tmp_path):
    (tmp_path / 'instances_val2014.json').write_text(json.dumps(coco_json([1, 2, 3, 4, 5])))
    (tmp_path / 'instances_val2017.json').write_text(json.dumps(coco_json([4, 2])))
    split_minival(str(tmp_path), counts=(2, 3))
    assert is_split(str(tmp_path))
    assert json.loads((tmp_path / 'instances_minival2014.json').read_text()) == coco_json([2, 4])
    assert json.loads((tmp_path / 'instances_valminusminival2014.json').read_text()) == coco_json([1, 3, 5])


@pytest.mark.parametrize('of_2017, counts', [([2, 9], (1, 4)), ([2, 4], (5000, 35504))])
def test_a_split_of_other_files_is_refused(tmp_path, of_2017, counts):
    (tmp_path / 'instances_val2014.json').write_text(json.dumps(coco_json([1, 2, 3, 4, 5])))
    (tmp_path / 'instances_val2017.json').write_text(json.dumps(coco_json(of_2017)))
    with pytest.raises(FetchError, match='expected %d and %d images' % counts):
        split_minival(str(tmp_path), counts=counts)


def test_annotations_that_are_cut_off_are_named(tmp_path):
    (tmp_path / 'instances_val2017.json').write_text('{"images": [')
    with pytest.raises(FetchError, match='instances_val2017.json: expected json: .* Remove it'):
        split_minival(str(tmp_path))
    assert not is_split(str(tmp_path))


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


def test_every_archive_has_a_name_of_its_own_and_a_checksum_of_32_digits_or_none():
    everything = {archive for sets in archives.SETS.values() for of_set in sets.values() for archive in of_set}
    assert len({fetch.name_of(archive) for archive in everything}) == len(everything)
    assert all(archive.md5 is None or len(bytes.fromhex(archive.md5)) == 16 for archive in everything)
    assert archives.chosen('coco', ['2014', 'minival', '2017']).count(archives.SETS['coco']['2017'][2]) == 1


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
