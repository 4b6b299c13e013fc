"""The data sets by name. An own one derives from `lib.dataset.imdb.IMDB` and gets a line in `DATASETS`."""
from lib.dataset.box_list import YOLO, CSVList
from lib.dataset.coco import COCO
from lib.dataset.pascal_voc import PascalVOC
from lib.errors import DatasetError

DATASETS = {'PascalVOC': PascalVOC, 'coco': COCO, 'csv': CSVList, 'yolo': YOLO}


def make_dataset(name, image_set, root_path, dataset_path, *, classes=None, **options):
    """Open a data set.

    Args:
        name: one of `DATASETS`.
        image_set: name of a list of images in it, such as '2007_trainval'.
        root_path: folder for what is shared by data sets.
        dataset_path: folder of the data set.
        classes: class names or a text file of them; None takes those of the data.
        options: further keyword arguments of the class.
    Returns:
        IMDB.
    Raises:
        DatasetError: the name is unknown, or the data are not what they should be.
        FileNotFoundError: they are not there.
    """
    if name not in DATASETS:
        raise DatasetError("unknown data set '%s'; known are %s" % (name, ', '.join(sorted(DATASETS))))
    return DATASETS[name](image_set, root_path, dataset_path, classes=classes, **options)
