"""Loads a file over HTTP, and unpacks it if it is an archive.

What a broken connection left is taken up where it ended; the sum is checked at the end. Archives are not trusted:
nothing is written outside the folder, and only plain files.
"""
from __future__ import annotations

import hashlib
import http.client
import os
import re
import shutil
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections import namedtuple
from pathlib import PurePosixPath, PureWindowsPath
from typing import Callable

from lib.errors import UserError
from lib.utils.whole_file import save_text

CHUNK = 1 << 20
NOTE = 'UNFINISHED-%s.txt'      # in the folder of an archive of this name while it is unpacked
_UNFINISHED = ('An interrupted program has not unpacked all of\n    %s\n(%d files) into this folder. Fetch it again; '
               'that removes this note.\n')
FINAL_ANSWERS = (400, 401, 403, 404, 405, 410, 451)  # asking again would not help
Member = namedtuple('Member', 'name size open')
_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)


class FetchError(UserError):
    """A file cannot be had, or is not what it should be. The message says what to do."""


def download(url: str, path: str, *, md5: str | None = None, retries: int = 5, timeout: float = 60, pause: float = 2.0,
             report: Callable[[int, int | None], object] = lambda done, total: None) -> None:
    """Load `url` into the file `path`; until it is whole and checked, it is called `path`.part.

    Args:
        md5: the expected sum in hexadecimal, or None.
        retries: attempts in a row that may fail without a single byte gained.
        timeout: seconds that the server may be silent.
        pause: seconds before the second attempt; doubled after each that gains nothing.
        report: called with the bytes that are there and the total (None where the server does not tell).
    Raises:
        FetchError: no such file, no space, no connection after all attempts, or another sum.
    """
    part, failures = path + '.part', 0
    while True:
        before = _size(part)
        try:
            _attempt(url, part, timeout, report)
            break
        except (OSError, http.client.HTTPException) as error:
            if getattr(error, 'code', None) in FINAL_ANSWERS:
                raise FetchError('%s: the server says %s. Is there another copy? Give its folder with --mirror'
                                 % (url, error)) from None
            failures = 1 if _size(part) > before else failures + 1
            if failures > retries:
                raise FetchError('%s: %s, %d attempts in a row. What was loaded (%d bytes) stays in %s: call again to '
                                 'go on' % (url, error, failures, _size(part), part)) from None
            time.sleep(pause * 2 ** (failures - 1))
    if md5 is not None:
        check_md5(part, md5, url)
    os.replace(part, path)


def check_md5(path: str, expected: str, source: str) -> None:
    """Raise a FetchError and remove the file if its MD5 sum is not the expected one."""
    digest = hashlib.md5()
    with open(path, 'rb') as file:
        for chunk in iter(lambda: file.read(CHUNK), b''):
            digest.update(chunk)
    if digest.hexdigest() != expected.lower():
        os.remove(path)
        raise FetchError('%s: its MD5 sum should be %s and is %s. It was removed: call again, or take another copy with'
                         ' --mirror' % (source, expected, digest.hexdigest()))


def require_space(folder: str, needed: int, what: str) -> None:
    """Raise a FetchError unless the disk of `folder` has `needed` bytes left."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise FetchError('%s: %s needs %d MB and the disk has %d MB left. Make room, or choose another disk with '
                         '--folder' % (folder, what, needed // 10 ** 6 + 1, free // 10 ** 6))


def _attempt(url, part, timeout, report):
    """Append to `part` what it lacks. Raises OSError when the connection breaks before the end."""
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
        resumed = response.status == 206 and response.headers.get('Content-Range', '').startswith('bytes %d-' % have)
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


def _size(path):
    return os.path.getsize(path) if os.path.exists(path) else 0


def _total(headers):
    """The length of the whole file from 'Content-Range: bytes 5-9/10' or 'bytes */10'."""
    match = re.match(r'bytes (?:\d+-\d+|\*)/(\d+)$', headers.get('Content-Range', ''))
    return int(match.group(1)) if match else None


def _length(headers):
    return int(headers['Content-Length']) if headers.get('Content-Length', '').isdigit() else None


def unpack(path: str, folder: str) -> int:
    """Unpack an archive below `folder`; files that are there are written anew.

    Every name is looked at before anything is written. Each file gets its name when it is whole, and until all are
    there a note in the folder says that they are not.

    Returns:
        int, the number of files.
    Raises:
        FetchError: the archive is damaged (it is removed then), holds links, devices or names that lead out of
            the folder, or the disk lacks space.
    """
    os.makedirs(folder, exist_ok=True)
    note = os.path.join(folder, NOTE % os.path.basename(path))
    try:
        with (zipfile.ZipFile(path) if path.endswith('.zip') else tarfile.open(path)) as archive:
            members = _zip_members(archive) if path.endswith('.zip') else _tar_members(archive)
            targets = [_target(folder, member.name, path) for member in members]
            require_space(folder, sum(member.size for member in members), 'unpacking ' + os.path.basename(path))
            save_text(note, _UNFINISHED % (os.path.abspath(path), len(members)))
            for member, target in zip(members, targets):
                _write(member, target)
    except _DAMAGED as error:
        os.remove(path)
        raise FetchError('%s is damaged (%s) and was removed: call again to load it anew' % (path, error)) from None
    os.remove(note)
    return len(members)


def _zip_members(archive):
    # What a zip file calls a link becomes a plain file here. A wrong CRC raises BadZipFile at a member's end.
    return [Member(info.filename, info.file_size, lambda info=info: archive.open(info))
            for info in archive.infolist() if not info.is_dir()]


def _tar_members(archive):
    try:
        entries = archive.getmembers()
        archive.fileobj.seek(archive.offset)
        end = archive.fileobj.read(tarfile.BLOCKSIZE)
    except (ValueError, OSError) as error:      # of a size that no file has; nothing has been written
        raise tarfile.ReadError('a header cannot be read: %s' % error) from None
    if not end or any(end):     # tarfile takes a header that it cannot read for the end
        raise tarfile.ReadError('it breaks off after %d members' % len(entries))
    files = [info for info in entries if not info.isdir()]
    for info in files:
        if not info.isfile():
            raise FetchError('%s: member %r is a link or a device; refused, nothing was unpacked'
                             % (archive.name, info.name))
    return [Member(info.name, info.size, lambda info=info: archive.extractfile(info)) for info in files]


def _target(folder, name, source):
    """Where a member goes. A link that the user made, data/coco on another disk, is followed: archives make none."""
    parts = PurePosixPath(name).parts
    if not parts or '..' in parts or PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor or '\\' in name:
        raise FetchError('%s: the name %r leads out of the folder; refused, nothing was unpacked' % (source, name))
    return os.path.join(folder, *parts)


def _write(member, target):
    """Write a member under another name, then give it its own. `whole_file` would wait for the disk at each one."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    part = target + '.part'
    try:
        with member.open() as source, open(part, 'wb') as file:
            shutil.copyfileobj(source, file)
        os.replace(part, target)
    finally:
        if os.path.exists(part):
            os.remove(part)
