"""What the writers of all formats share."""
import filecmp
import os
import shutil

from lib.dataset.files import inside
from lib.errors import DatasetError
from lib.utils.image import IMAGE_EXTENSIONS


def number_text(value):
    """The shortest text from which the same number is read back; whole numbers without a point."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def write_lines(path, lines):
    """Write a text file, its folder too."""
    os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
    with open(path, 'w', encoding='utf-8') as file:
        file.writelines(line + '\n' for line in lines)


def check_stems(pictures, folder):
    """Raise a DatasetError if two images differ in their extension alone, or have one that the format does not know."""
    seen = {}
    for picture in pictures:
        stem, extension = os.path.splitext(picture.name)
        if extension.lower() not in IMAGE_EXTENSIONS:
            raise DatasetError('%s: expected an image with one of the extensions %s. Convert it'
                               % (picture.name, ' '.join(IMAGE_EXTENSIONS)))
        if seen.setdefault(stem, picture.path) != picture.path:
            raise DatasetError('%s and %s would have the same file in %s. Rename one, or convert the sets into '
                               'folders of their own' % (seen[stem], picture.path, folder))


def place_images(pictures, folder, how='copy'):
    """Copy images below a folder, or link to them.

    Args:
        pictures: list of Picture. how: 'copy', 'link' (symbolic links) or 'none'.
    Raises:
        DatasetError: another file of the name is there, or a name leads out of the folder.
    """
    for picture in pictures:
        target = inside(folder, picture.name)
        if how == 'none' or os.path.exists(target) and filecmp.cmp(picture.path, target, shallow=False):
            continue
        if os.path.lexists(target):
            raise DatasetError('%s: another file of this name is there; expected the image %s or none. Give '
                               'another folder' % (target, picture.path))
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if how == 'link':
            os.symlink(os.path.abspath(picture.path), target)
        else:
            shutil.copyfile(picture.path, target)
