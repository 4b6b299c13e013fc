"""Fetch PASCAL VOC or COCO into the layout that the configurations expect: data/get_voc.sh and data/get_coco.sh.

Each archive is loaded (a broken download goes on where it ended), checked, unpacked and removed. A second call does
nothing.

    rfcn fetch voc 2007
    rfcn fetch coco --mirror https://somewhere/files
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, Sequence

if __package__ in (None, ''):
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a file: the folder of data, not data itself

import json
import os

from data.archives import DEFAULT_SETS, MINIVAL, SETS, Archive, chosen, is_split, split_minival
from data.download import FetchError, check_md5, download, require_space, unpack
from lib.utils import limits
from lib.utils.console import say
from lib.utils.folders import locked_folder
from lib.utils.whole_file import save_text
from rfcn.cli.script import make_parser, run_script

MEGABYTE = 10 ** 6


def name_of(archive: Archive) -> str:
    """The archive's file name."""
    return archive.url.rpartition('/')[2]


def address(archive: Archive, mirror: str | None = None) -> str:
    """The address to load an archive from. `mirror` is the address of a folder with all archives."""
    return '%s/%s' % (mirror.rstrip('/'), name_of(archive)) if mirror else archive.url


def is_there(archive: Archive, folder: str) -> bool:
    """Whether an archive was completely unpacked here, and its files have not been removed since."""
    return _mark(archive, folder).exists() and (Path(folder) / archive.evidence).exists()


def space_needed(archives: Sequence[Archive], folder: str, keep: bool) -> int:
    """How many bytes are still needed, estimated: for all unpacked files, and for what is still to load of the largest
    such archive, or of all if they are kept. What lies in folder/downloads, whole or in part, is loaded already.
    """
    to_load = [max(0, MEGABYTE * archive.megabytes - _loaded(archive, folder)) for archive in archives]
    held = sum(to_load) if keep else max(to_load, default=0)
    return held + MEGABYTE * sum(archive.unpacked for archive in archives)


def _loaded(archive, folder):
    """How many bytes of an archive are on the disk."""
    path = Path(folder) / 'downloads' / name_of(archive)
    return sum(os.path.getsize(part) for part in (path, '%s.part' % path) if os.path.exists(part))


def fetch(archives: Sequence[Archive], folder: str, *, mirror: str | None = None, keep: bool = False,
          **options: Any) -> list[str]:
    """Load, check and unpack the archives that are not there yet.

    Args:
        archives: to fetch.
        folder: the data folder.
        mirror: the address of a folder with all archives; None for their own servers.
        keep: whether the archives stay, in folder/downloads.
        options: of `download`.
    Returns:
        the file names of the archives that were fetched.
    Raises:
        FetchError: as `download` and `unpack`; also if the content of an archive is not the expected one.
        FolderInUse: another run fetches into the folder.
    """
    missing = [archive for archive in archives if not is_there(archive, folder)]
    downloads = Path(folder) / 'downloads'
    for archive in archives:
        if archive not in missing and _is_left(archive, folder):
            (downloads / name_of(archive)).unlink()
    if missing:
        downloads.mkdir(parents=True, exist_ok=True)
        with locked_folder(folder):
            require_space(str(folder), space_needed(missing, folder, keep), 'what is still to load and to unpack')
            for archive in missing:
                _fetch_one(archive, folder, mirror, keep, options)
    return [name_of(archive) for archive in missing]


def _fetch_one(archive, folder, mirror, keep, options):
    path = str(Path(folder) / 'downloads' / name_of(archive))
    if not limits.is_there(path):
        download(address(archive, mirror), path, md5=archive.md5, **options)
    elif archive.md5 is not None:  # put there by the user, or kept
        check_md5(path, archive.md5, path)
    files = unpack(path, str(Path(folder) / archive.folder))
    if not (Path(folder) / archive.evidence).exists():
        raise FetchError('%s was unpacked, %d files, but %s is not there: is it another archive?'
                         % (path, files, archive.evidence))
    mark = _mark(archive, folder)
    mark.parent.mkdir(exist_ok=True)
    save_text(mark, json.dumps({'from': address(archive, mirror), 'md5': archive.md5, 'files': files, 'kept': keep}))
    if not keep:
        os.remove(path)


def describe(archives: Sequence[Archive], folder: str, mirror: str | None = None) -> list[str]:
    """What `fetch` would do, a line for each archive."""
    lines = []
    for archive in archives:
        state = 'is there' if is_there(archive, folder) else 'to fetch, %d MB' % archive.megabytes
        check = 'md5 ' + archive.md5 if archive.md5 else 'no known checksum: length and CRC are checked'
        lines.append('%-17s %s -> %s (%s)' % (state, address(archive, mirror), Path(folder) / archive.folder, check))
    return lines


def _mark(archive, folder):
    return Path(folder) / '.fetched' / name_of(archive)


def _is_left(archive, folder):
    """Whether an archive is still there that should have been removed: the program was killed just before that."""
    if not (Path(folder) / 'downloads' / name_of(archive)).exists():
        return False
    try:
        return json.loads(_mark(archive, folder).read_text()).get('kept') is False
    except ValueError:
        return False


def _progress(done, total):
    if sys.stderr.isatty():
        share = ' of %d MB, %d %%' % (total // MEGABYTE, 100 * done // max(total, 1)) if total else ' MB'
        sys.stderr.write('\r%d%s  ' % (done // MEGABYTE, share))


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    parser.add_argument('dataset', choices=sorted(SETS), help='whose pictures and annotations')
    parser.add_argument('sets', nargs='*', metavar='SET', help='; '.join(
        '%s: %s (default %s)' % (name, ' '.join(SETS[name]), ' '.join(DEFAULT_SETS[name])) for name in sorted(SETS)))
    parser.add_argument('--folder', default=str(Path(__file__).resolve().parent),
                        help='the data folder (default: %(default)s)')
    parser.add_argument('--mirror', help='where the archives are instead of on their own servers, such as '
                                         'https://data.pjreddie.com/files')
    parser.add_argument('--dry-run', action='store_true', help='only print what would be fetched')
    parser.add_argument('--keep', action='store_true', help='leave the archives in FOLDER/downloads')
    args = parser.parse_intermixed_args(argv)
    args.sets = args.sets or DEFAULT_SETS[args.dataset]
    unknown = [name for name in args.sets if name not in SETS[args.dataset]]
    if unknown:
        parser.error('%s has no set %s; there are %s'
                     % (args.dataset, ', '.join(unknown), ', '.join(SETS[args.dataset])))
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point."""
    args = parse(argv)
    archives = chosen(args.dataset, args.sets)
    annotations = os.path.join(args.folder, 'coco', 'annotations')
    say('\n'.join(describe(archives, args.folder, args.mirror)))
    to_split = MINIVAL in args.sets and not is_split(annotations)
    if to_split:
        say('to split          %s/instances_val2014.json into minival2014 and valminusminival2014' % annotations)
    if args.dry_run:
        return
    fetched = fetch(archives, args.folder, mirror=args.mirror, keep=args.keep, report=_progress)
    if to_split:
        split_minival(annotations)
    say('fetched: %s' % (', '.join(fetched) or 'nothing, all is there'))


if __name__ == '__main__':
    run_script(main)
