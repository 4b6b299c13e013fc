"""The readers of annotations as they stand in their files, by the names of `lib.dataset.DATASETS`."""
from lib.dataset.csv_list import read_csv
from lib.dataset.read_coco import read_coco
from lib.dataset.read_voc import read_voc
from lib.dataset.read_yolo import read_yolo
from lib.errors import DatasetError

READERS = {'PascalVOC': read_voc, 'coco': read_coco, 'csv': read_csv, 'yolo': read_yolo}


def read_annotated(name, image_set, dataset_path, classes=None):
    """AnnotatedSet of an image set of a data set; arguments as of `lib.dataset.make_dataset`."""
    if name not in READERS:
        raise DatasetError("unknown data set '%s'; known are %s" % (name, ', '.join(READERS)))
    return READERS[name](image_set, dataset_path, classes)
