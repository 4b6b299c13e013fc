"""Files are loaded to their end and checked, archives unpacked whole, against a server on loopback."""
import collections
import io
import re
import resource
import tarfile

import pytest

from data import download
from data.download import FetchError
from tests.data.conftest import QUICK, make_tar, make_zip, md5_of

Usage = collections.namedtuple('Usage', 'total used free')


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
