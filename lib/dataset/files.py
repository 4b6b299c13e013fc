"""Which files belong to a data set, and how they are read: one rule for all formats.

- Names that begin with a dot never belong (.DS_Store, ._a.jpg, .ipynb_checkpoints), nor do the folders in which systems
  keep thumbnails and what was deleted (@eaDir, #recycle).
- Links are followed. Left out, with a message, are links that lead nowhere, and folders that are reached a second time
  through a link.
- Names that were read from a file must stay inside the data set's folder; that holds for absolute ones too.
- Only regular files are read: pipes and devices may never end. Texts are UTF-8.
"""
from __future__ import annotations

import functools
import logging
import os
import re
import unicodedata
from typing import Callable, Iterable, Sequence
from urllib.parse import unquote

from lib.errors import DatasetError, reason_of
from lib.utils.image_file import IMAGE_EXTENSIONS
from lib.utils.limits import STAND_IN_BYTES, check_regular, kind_of, open_input, stand_in

logger = logging.getLogger(__name__)

# Paths that never belong; '../' may stand before a name.
HIDDEN = r'(^|/)(\.(?!\./)|(@eaDir|#recycle|\$RECYCLE\.BIN)(/|$))'
_LONGEST_PATH = 4096
MOST_FOLDERS = 100
_LINE_END = re.compile('\r\n|\r|\n')
CLASS_FILE = 'classes.txt'      # class names of own data, one per line
# Image sets that tools name differently. If a set has no folder or file of its own name, the other names are tried.
SAME_SETS = (('val', 'valid', 'validation'), ('train', 'training'), ('test', 'testing'))


def names_of_set(image_set: str) -> list[str]:
    """The name of an image set, then the other names that tools give to the same set: 'val', 'valid', 'validation'."""
    plain = re.sub(r'_(labels|annotations)$', '', image_set)       # train_labels.csv, with pictures in train/
    same = next((names for names in SAME_SETS if plain in names), ())
    return list(dict.fromkeys((image_set,) + (plain,) * bool(same) + same))


def files_of_set(image_set: str, dataset_path: str, patterns: Sequence[str], what: str,
                 remedy: str = '') -> list[str]:
    """Paths of the files of an image set: those of the first of its names (`names_of_set`) that has any.

    Args:
        image_set, dataset_path: name of the set, and folder of the data set.
        patterns: paths within the folder with %s for the name, the likeliest first.
        what, remedy: for the error: 'there <what> of the image set', and its end.
    Raises:
        FileNotFoundError: there is none. DatasetError: the first one leads out of the folder.
    """
    tried = []
    for name in names_of_set(image_set):
        paths = [os.path.join(dataset_path, pattern % name) for pattern in patterns]
        found = [path for path in paths if os.path.exists(path)]
        if found:
            return [inside(dataset_path, os.path.relpath(found[0], dataset_path))] + found[1:]
        tried += [pattern % name for pattern in patterns]
    alike = (meant([dataset_path], name, (os.path.splitext(name)[1],)) for name in tried)
    raise FileNotFoundError("%s: there %s of the image set '%s': tried %s%s"
                            % (os.path.abspath(dataset_path), what, image_set, ', '.join(tried),
                               next(filter(None, alike), remedy)))


def image_folders(image_set: str, dataset_path: str, more: Sequence[str] = ()) -> list[str]:
    """The existing folders in which the images of a set may lie, the likeliest first.

    They are images/<set> and <set> for each of its names (`names_of_set`), then images, data (FiftyOne), and the data
    set's folder.

    Args:
        image_set, dataset_path: name of the set, and folder of the data set.
        more: further names of the set.
    """
    places = [place for name in [*names_of_set(image_set), *more] for place in (os.path.join('images', name), name)]
    places += ['images', 'data', '']
    folders = dict.fromkeys(os.path.abspath(os.path.join(dataset_path, place)) for place in places)
    return [folder for folder in folders if os.path.isdir(folder)]


def read_file(path: str, what: str, most: int | None = None) -> bytes:
    """The bytes of a regular file.

    Args:
        path: of the file.
        what: what the file should hold, for errors: 'expected <what>'.
        most: a file of more bytes is refused.
    Raises:
        FileNotFoundError: there is no such file.
        DatasetError: it cannot be read, or is not a regular file, or too large.
    """
    try:
        check_regular(path)
        with open(path, 'rb') as file:
            data = file.read() if most is None else file.read(most + 1)
    except FileNotFoundError:
        raise FileNotFoundError('%s: there is no such file; expected %s' % (os.path.abspath(path), what)) from None
    except (OSError, ValueError) as error:
        raise DatasetError('%s: expected %s, cannot be read: %s' % (path, what, reason_of(error))) from error
    if most is not None and len(data) > most:
        raise DatasetError('%s: expected %s, found a file larger than %d bytes' % (path, what, most))
    return data


def read_text(path: str, what: str, most: int | None = None) -> str:
    """The text of a regular file in UTF-8, without a byte order mark. Arguments and errors as of `read_file` and
    `refuse_stand_in`.
    """
    data = read_file(path, what, most)
    refuse_stand_in(data, path, what)
    return decoded(data, path, what)


def check_content(path: str, what: str) -> None:
    """`refuse_stand_in` for a file that is not read at once. Raises as `open_input`, too."""
    with open_input(path) as file:
        refuse_stand_in(file.read(STAND_IN_BYTES), path, what)


def refuse_stand_in(data: bytes, path: str, what: str) -> None:
    """Raise a DatasetError if something else was saved in place of a file: an HTML page, a packed file, a
    pointer of Git LFS.

    Args:
        data: its bytes, or the first ones.
        path, what: as of `read_file`.
    """
    found = stand_in(data)
    if found:
        raise DatasetError('%s: expected %s, found %s' % (path, what, found))


def decoded(data: bytes, path: str, what: str) -> str:
    """The bytes of a file as text. Raises a DatasetError that advises UTF-8 if they are in another encoding."""
    try:
        return data.decode('utf-8-sig')
    except UnicodeDecodeError as error:
        raise DatasetError('%s: expected %s, in UTF-8, cannot be read: byte %#04x at position %d is not UTF-8%s. '
                           'Save the file as UTF-8' % (path, what, data[error.start], error.start, _guess(data))) \
            from error


def _guess(data):
    """Which encoding the bytes may have, for a message."""
    if data[:2] in (b'\xff\xfe', b'\xfe\xff'):
        return ' (it looks like UTF-16, which Windows calls Unicode)'
    return ' (another encoding, such as GB2312, Latin-1 or Windows-1252?)'


def numbered_lines(path: str, what: str) -> list[tuple[int, str]]:
    """The lines of a text file that are not blank, stripped, as pairs (number counted from 1, line).

    Lines end as in all text files: str.splitlines also ends them at form feeds and the like, where no editor does.
    Arguments and errors as of `read_file`.
    """
    lines = enumerate(_LINE_END.split(read_text(path, what)), 1)
    return [(number, line.strip()) for number, line in lines if line.strip()]


def read_lines(path: str, what: str) -> list[str]:
    """`numbered_lines` without the numbers."""
    return [line for _, line in numbered_lines(path, what)]


def existing(path: str) -> str:
    """The path if a regular file is there, else ''."""
    return path if os.path.isfile(path) else ''


def belongs(name: str) -> bool:
    """Whether a file or folder of this name may belong to a data set: see above."""
    return not re.match(HIDDEN, name)


def inside(folder: str, name: str) -> str:
    """Join a folder and a name that was read from a file. Raises a DatasetError if the result is not in the folder."""
    folder = os.path.abspath(folder)
    path, base = os.path.normpath(os.path.join(folder, name)), os.path.join(folder, '')
    if not path.startswith(base):       # rarely: an absolute name, and a folder that is reached through a link
        base = os.path.join(os.path.realpath(folder), '')
    if path.startswith(base) and '\0' not in name:
        return os.path.join(folder, path[len(base):])
    raise DatasetError('%s: the name %r leads out of this folder; refused' % (folder, name))


def is_inside(folder: str, name: str) -> bool:
    """Whether `inside` accepts the name."""
    try:
        return bool(inside(folder, name))
    except DatasetError:
        return False


def find_image(dataset_path: str, folders: Sequence[str], name: str, source: str) -> tuple[str, str]:
    """Find the image that an annotation names.

    Args:
        dataset_path: folder of the data set; an absolute name must lie in it.
        folders: where a relative name is looked for, the likeliest first.
        name: as written, with separators of Linux or Windows.
        source: path of the annotation file, for errors.
    Returns:
        path of the image, and of another file that could be meant, or ''.
    Raises:
        DatasetError: the name leads out of the folder. FileNotFoundError: there is no such image.
    """
    name = name.replace('\\', '/')
    try:
        paths = [inside(dataset_path, name)] if os.path.isabs(name) else [inside(folder, name) for folder in folders]
    except DatasetError as error:
        raise DatasetError('%s: names an image that lies elsewhere: %s%s'
                           % (source, error, meant([*folders, *folders_below(dataset_path)], name)
                              or '. Copy it into the folder')) from None
    found = [path for path in paths if os.path.isfile(path)]
    strange = [path for path in paths if not found and os.path.exists(path)]
    if strange:
        raise FileNotFoundError('%s: an image is expected, this is %s; %s names it'
                                % (strange[0], kind_of(strange[0]), source))
    if not found:
        raise FileNotFoundError('%s: there is no such image in %s, and %s names it%s'
                                % (name, ', '.join(map(os.path.abspath, folders)), source,
                                   meant([*folders, *folders_below(dataset_path)], name)
                                   or '. Add it, or take it out of that file'))
    others = [path for path in found[1:] if os.path.realpath(path) != os.path.realpath(found[0])]
    return found[0], others[0] if others else ''


def meant(folders: Sequence[str], name: str, extensions: tuple[str, ...] = IMAGE_EXTENSIONS) -> str:
    """The end of a message about a file that is not there: another one that may be meant, '' if there is none.

    It differs from `name` in upper case, Unicode form, %-codes, blanks at the ends or its extension, or lacks its first
    folders and what leads out of them.

    Args:
        folders: where the name was looked for.
        name: with '/'.
        extensions: of the files that may be meant, in lower case.
    """
    parts = [part for part in name.split('/') if part]
    outside = max((number for number, part in enumerate(parts, 1) if part == '..'), default=0)
    places = (os.path.join(folder, *parts[start:-1]) for start in range(outside, len(parts)) for folder in folders)
    for place in filter(os.path.isdir, places):
        found = _by_spelling(place, os.stat(place).st_mtime_ns, extensions).get(_spelling(parts[-1]))
        if found:
            form = ', in another Unicode form' if found != parts[-1] and _composed(found) == _composed(parts[-1]) \
                else ''
            return '. %s is there%s: correct the name' % (os.path.join(place, found), form)
    return ''


@functools.lru_cache(maxsize=16)
def folders_below(folder: str) -> list[str]:
    """The paths of a folder and of those below it, at most MOST_FOLDERS: where a file may be that is looked for."""
    found = []
    for path, folders, _ in os.walk(folder):
        found.append(path)
        folders[:] = sorted(filter(belongs, folders))
        if len(found) == MOST_FOLDERS:
            break
    return found


@functools.lru_cache(maxsize=2 * MOST_FOLDERS)
def _by_spelling(folder, _, extensions):
    """Spelling -> name of the files of a folder; the time of its last change makes a cached answer invalid."""
    return {_spelling(name): name for name in sorted(os.listdir(folder), reverse=True)
            if belongs(name) and name.lower().endswith(extensions)}


def _spelling(name):
    return _composed(os.path.splitext(unquote(name.strip()))[0]).casefold()


def _composed(name):
    return unicodedata.normalize('NFC', name)


def files_below(folder: str, extensions: tuple[str, ...], note: Callable[[str], None] = logger.warning) -> list[str]:
    """Paths of the files below a folder that have one of the extensions, sorted.

    Args:
        folder: where to look; linked folders are followed.
        extensions: in lower case; those of files may be in any case.
        note: called with a message for each link that is left out.
    """
    found, seen, tops = [], set(), [folder]
    for top in tops:                # linked folders come last, so that no file is taken by a link that has a plain path
        for path, folders, names in os.walk(top):
            place = os.path.realpath(path)
            if place in seen:
                note('%s: a link to %s, which has been read already: left out' % (path, place))
                folders[:] = []
                continue
            seen.add(place)
            paths = [os.path.join(path, name) for name in names if belongs(name)]
            _note_lost_links([name for name in paths if not name.lower().endswith(extensions)], note)
            found += [name for name in paths if name.lower().endswith(extensions)]
            folders[:] = sorted(name for name in folders if belongs(name))
            tops += [link for link in (os.path.join(path, name) for name in folders) if os.path.islink(link)]
    return sorted(found)


def _note_lost_links(paths, note):
    for path in paths:
        if not os.path.exists(path):
            note('%s: a link that leads nowhere: left out' % path)
        elif _was_a_link(path):
            note('%s: a text file in the place of a link, as git and copies to other systems leave it: left out. '
                 'Make it a link again' % path)


def _was_a_link(path):
    """Whether a file without an extension holds only the path of something that exists."""
    if '.' in os.path.basename(path) or not os.path.isfile(path) or os.path.getsize(path) > _LONGEST_PATH:
        return False
    with open(path, 'rb') as file:
        text = file.read().rstrip(b'\n')
    return b'/' in text and b'\0' not in text and os.path.exists(os.path.join(os.fsencode(os.path.dirname(path)), text))


def relative(path: str, folder: str) -> str:
    """The path as seen from a folder, with '/' between its parts."""
    return os.path.relpath(path, folder).replace(os.sep, '/')


def set_name(dataset_path: str, image_set: str) -> str:
    """The name of an image set: that of the data set's folder, then its own. Files are called so: it has no '/'."""
    return '%s_%s' % (os.path.basename(os.path.abspath(dataset_path)), image_set.replace('/', '_'))


def short_name(name: str, image_set: str) -> str:
    """The path of an image within the folder of its set: 'a.jpg' for images/train/a.jpg and train/images/a.jpg."""
    parts = [part for part in name.split('/') if part != '.']
    if 'images' in parts[:-1]:
        parts = parts[len(parts) - 1 - parts[::-1].index('images') + 1:]
    return '/'.join(parts[1:] if len(parts) > 1 and parts[0] == image_set else parts)


def number_text(value: float) -> str:
    """The shortest text that gives the same number when read; whole numbers have no point."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def write_lines(path: str, lines: Iterable[str]) -> None:
    """Write a text file; its folder is made if need be."""
    os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
    with open(path, 'w', encoding='utf-8') as file:
        file.writelines(line + '\n' for line in lines)
