"""Unpacks tar and zip archives without trusting them: nothing is written outside the folder, and only plain files."""
import os
import shutil
import tarfile
import zipfile
import zlib
from collections import namedtuple
from pathlib import PurePosixPath, PureWindowsPath

from data.download import FetchError, require_space

Member = namedtuple('Member', 'name size open')

_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)


def unpack(path, folder):
    """Unpack an archive below `folder`; files that are there are written anew.

    Every name is looked at before anything is written.

    Returns:
        int, the number of files.
    Raises:
        FetchError: the archive is damaged (it is removed then), holds links, devices or names that lead out of
            the folder, or the disk lacks space.
    """
    os.makedirs(folder, exist_ok=True)
    try:
        with (zipfile.ZipFile(path) if path.endswith('.zip') else tarfile.open(path)) as archive:
            members = _zip_members(archive) if path.endswith('.zip') else _tar_members(archive)
            targets = [_target(folder, member.name, path) for member in members]
            require_space(folder, sum(member.size for member in members), 'unpacking ' + os.path.basename(path))
            for member, target in zip(members, targets):
                _write(member, target)
    except _DAMAGED as error:
        os.remove(path)
        raise FetchError('%s is damaged (%s) and was removed: call again to load it anew' % (path, error)) from None
    return len(members)


def _zip_members(archive):
    # What a zip file calls a link becomes a plain file here. A wrong CRC raises BadZipFile at a member's end.
    return [Member(info.filename, info.file_size, lambda info=info: archive.open(info))
            for info in archive.infolist() if not info.is_dir()]


def _tar_members(archive):
    files = [info for info in archive.getmembers() if not info.isdir()]
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
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with member.open() as source, open(target, 'wb') as file:
        shutil.copyfileobj(source, file)
