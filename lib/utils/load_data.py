"""Opens the data sets that a training uses and joins their lists of images."""
from lib.dataset import make_dataset
from lib.errors import DatasetError
from lib.utils.roidb import append_flipped_images


def load_imdbs(name, image_sets, root_path, dataset_path, **options):
    """Open each image set of 'a+b'.

    Args:
        name, root_path, dataset_path, options: as in `make_dataset`.
        image_sets: names joined by '+', such as '2007_trainval+2012_trainval'.
    Returns:
        list of IMDB.
    Raises:
        DatasetError: they differ in their classes.
    """
    imdbs = [make_dataset(name, image_set.strip(), root_path, dataset_path, **options)
             for image_set in image_sets.split('+')]
    for imdb in imdbs[1:]:
        if imdb.classes != imdbs[0].classes:
            raise DatasetError('%s and %s differ in their classes: %s and %s. Give the classes for both'
                               % (imdbs[0].name, imdb.name, imdbs[0].classes[1:], imdb.classes[1:]))
    return imdbs


def load_gt_roidb(name, image_sets, root_path, dataset_path, *, flip=False, **options):
    """The images of 'a+b' with their objects.

    Args:
        name, image_sets, root_path, dataset_path, options: as in `load_imdbs`.
        flip: whether the mirror images follow: those of a set directly after it, as in the release.
    Returns:
        roidb, a list of entries, and the list of IMDBs.
    Raises:
        DatasetError, FileNotFoundError: as the data sets do.
    """
    imdbs = load_imdbs(name, image_sets, root_path, dataset_path, **options)
    roidb = []
    for imdb in imdbs:
        entries = imdb.gt_roidb()
        roidb += append_flipped_images(entries) if flip else entries
    return roidb, imdbs
