"""Loads files over HTTP and unpacks archives.

A download whose connection broke goes on where it ended, and its sum is checked at the end. Archives are not trusted:
nothing is written outside of the folder, and nothing but plain files.
"""
from __future__ import annotations

import hashlib
import http.client
import os
import re
import shutil
import ssl
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from pathlib import PurePosixPath, PureWindowsPath
from typing import IO, Callable, NamedTuple

from lib.errors import UserError, reason_of
from lib.utils.console import shown
from lib.utils.limits import is_there
from lib.utils.whole_file import NO_ROOM, alone_in, save_text

CHUNK = 1 << 20
NOTE = 'UNFINISHED-%s.txt'      # in the folder of an archive of this name while it is unpacked
_UNFINISHED = ('An interrupted program has not unpacked all of\n    %s\n(%d files) into this folder. Fetch it again; '
               'that removes this note.\n')
FINAL_ANSWERS = (400, 401, 403, 404, 405, 410, 451)  # HTTP status: another attempt would not help
_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)


class FetchError(UserError):
    """A file cannot be loaded, or is not what it should be. The message says what to do."""


class Member(NamedTuple):
    """A file in an archive."""
    name: str
    size: int                       # bytes, unpacked
    open: Callable[[], IO[bytes]]


def download(url: str, path: str, *, md5: str | None = None, retries: int = 5, timeout: float = 60, pause: float = 2.0,
             report: Callable[[int, int | None], object] = lambda done, total: None) -> None:
    """Load a file. Until it is complete and checked, it is called `path`.part.

    Args:
        url: address.
        path: of the file to write.
        md5: the expected sum in hexadecimal; None checks no sum.
        retries: how many attempts in a row may fail without a new byte.
        timeout: seconds without an answer of the server after which an attempt fails.
        pause: seconds before the second attempt; doubled after each attempt without a new byte.
        report: called with the number of bytes that are there and the total (None if the server does not state it).
    Raises:
        FetchError: no such address or file, no space, no connection after all attempts, or another sum.
    """
    part, failures = path + '.part', 0
    while True:
        before = _size(part)
        try:
            _attempt(url, part, timeout, report)
            break
        except (OSError, http.client.HTTPException, ValueError) as error:
            if getattr(error, 'code', None) in FINAL_ANSWERS:
                raise FetchError('%s: the server says %s. Is there another copy? Give its folder with --mirror'
                                 % (url, error)) from None
            if _is_of_address(error):
                raise FetchError('%s cannot be loaded: %s. Expected an address that is there, such as '
                                 'https://HOST/FILE or file:///FOLDER/FILE; --mirror names what is before /FILE'
                                 % (url, error)) from None
            if getattr(error, 'errno', None) in NO_ROOM:
                raise FetchError('%s: %s. Make room for %s (%d bytes are there) and call again to go on'
                                 % (url, reason_of(error), part, _size(part))) from None
            failures = 1 if _size(part) > before else failures + 1
            if failures > retries:
                raise FetchError('%s: %s, %d attempts in a row. What was loaded (%d bytes) stays in %s: call again to '
                                 'go on' % (url, error, failures, _size(part), part)) from None
            time.sleep(pause * 2 ** (failures - 1))
    if md5 is not None:
        check_md5(part, md5, url)
    os.replace(part, path)


def check_md5(path: str, expected: str, source: str) -> None:
    """Raise a FetchError and remove the file if its MD5 sum is not the expected one; the message names `source`."""
    digest = hashlib.md5()
    with open(path, 'rb') as file:
        for chunk in iter(lambda: file.read(CHUNK), b''):
            digest.update(chunk)
    if digest.hexdigest() != expected.lower():
        os.remove(path)
        raise FetchError('%s: its MD5 sum should be %s and is %s. It was removed: call again, or take another copy with'
                         ' --mirror' % (source, expected, digest.hexdigest()))


def require_space(folder: str, needed: int, what: str) -> None:
    """Raise a FetchError unless the disk of `folder` has `needed` bytes left, which `what` needs."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise FetchError('%s: %s needs %d MB and the disk has %d MB left. Make room, or choose another disk with '
                         '--folder' % (folder, what, needed // 10 ** 6 + 1, free // 10 ** 6))


def _attempt(url, part, timeout, report):
    """Load what the file `part` lacks. Raises an OSError if the connection breaks before the end."""
    have = _size(part)
    request = urllib.request.Request(url, headers={'Range': 'bytes=%d-' % have} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not have:
            raise
        if _total(error.headers) == have:
            return  # whole already
        os.remove(part)
        raise ConnectionError('%d bytes are more than the server has, starting again' % have) from None
    with response:
        resumed = getattr(response, 'status', None) == 206 \
            and response.headers.get('Content-Range', '').startswith('bytes %d-' % have)    # no status: file:/...
        have = have if resumed else 0
        total = _total(response.headers) if resumed else _length(response.headers)
        require_space(os.path.dirname(part), (total or have) - have, url)
        with open(part, 'ab' if resumed else 'wb') as file:
            for chunk in iter(lambda: response.read(CHUNK), b''):
                file.write(chunk)
                have += len(chunk)
                report(have, total)
    if total is not None and have != total:
        raise ConnectionError('the connection broke after %d of %d bytes' % (have, total))


def _is_of_address(error):
    """Whether an address is none, or that of a file of this computer which is not there."""
    reason = error.reason if type(error) is urllib.error.URLError else error    # an HTTPError is a server's answer
    return isinstance(reason, (str, ValueError, http.client.InvalidURL, FileNotFoundError)) \
        and not isinstance(reason, ssl.SSLError)    # of a certificate: a ValueError, too


def _size(path):
    return os.path.getsize(path) if is_there(path) else 0


def _total(headers):
    """The length of the whole file from 'Content-Range: bytes 5-9/10' or 'bytes */10'."""
    match = re.match(r'bytes (?:\d+-\d+|\*)/(\d+)$', headers.get('Content-Range', ''))
    return int(match.group(1)) if match else None


def _length(headers):
    return int(headers['Content-Length']) if headers.get('Content-Length', '').isdigit() else None


def unpack(path: str, folder: str) -> int:
    """Unpack an archive into a folder; existing files are replaced.

    All names are checked before anything is written. Each file gets its name when it is complete. Until all files are
    there, a note in the folder says so. A second program that unpacks there waits for the end of the first.

    Args:
        path: of a zip file, or of a tar file with or without compression.
        folder: is made if need be.
    Returns:
        the number of files.
    Raises:
        FetchError: the archive is damaged (then it is removed), holds links, devices or names that lead out of the
            folder, or the disk lacks space.
    """
    os.makedirs(folder, exist_ok=True)
    note = os.path.join(folder, NOTE % os.path.basename(path))
    try:
        with alone_in(folder), \
                (zipfile.ZipFile(path) if path.endswith('.zip') else tarfile.open(path)) as archive:
            members = _zip_members(archive) if path.endswith('.zip') else _tar_members(archive)
            targets = [_target(folder, member.name, path) for member in members]
            require_space(folder, sum(member.size for member in members), 'unpacking ' + os.path.basename(path))
            save_text(note, _UNFINISHED % (shown(os.path.abspath(path)), len(members)))
            for member, target in zip(members, targets):
                _write(member, target)
    except _DAMAGED as error:
        os.remove(path)
        raise FetchError('%s is damaged (%s) and was removed: call again to load it anew' % (path, error)) from None
    os.remove(note)
    return len(members)


def _zip_members(archive):
    # A link in a zip file becomes a plain file here. A wrong CRC raises BadZipFile at the end of a member.
    return [Member(info.filename, info.file_size, lambda info=info: archive.open(info))
            for info in archive.infolist() if not info.is_dir()]


def _tar_members(archive):
    try:
        entries = archive.getmembers()
        archive.fileobj.seek(archive.offset)
        end = archive.fileobj.read(tarfile.BLOCKSIZE)
    except (ValueError, OSError) as error:      # an impossible size in a header; nothing has been written
        raise tarfile.ReadError('a header cannot be read: %s' % error) from None
    if not end or any(end):     # tarfile takes a header that it cannot read for the end of the archive
        raise tarfile.ReadError('it breaks off after %d members' % len(entries))
    files = [info for info in entries if not info.isdir()]
    for info in files:
        if not info.isfile():
            raise FetchError('%s: member %r is a link or a device; refused, nothing was unpacked'
                             % (archive.name, info.name))
    return [Member(info.name, info.size, lambda info=info: archive.extractfile(info)) for info in files]


def _target(folder, name, source):
    """The path of a member in the folder. Links are followed: the user made them, since archives cannot."""
    parts = PurePosixPath(name).parts
    if not parts or '..' in parts or PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor or '\\' in name:
        raise FetchError('%s: the name %r leads out of the folder; refused, nothing was unpacked' % (source, name))
    return os.path.join(folder, *parts)


def _write(member, target):
    """Write a member under another name, then rename it. `whole_file` would wait for the disk at each of them."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    part = target + '.part'
    try:
        with member.open() as source, open(part, 'wb') as file:
            shutil.copyfileobj(source, file)
        os.replace(part, target)
    finally:
        if os.path.exists(part):
            os.remove(part)
