"""The class names of the published data sets, for models of theirs where the data are not at hand."""
import re

from lib.dataset.voc import VOC_CLASSES

# In the order of COCO's category numbers, which is that of its json files.
COCO_CLASSES = (
    'person', 'bicycle', 'car', 'motorcycle', 'airplane', 'bus', 'train', 'truck', 'boat', 'traffic light',
    'fire hydrant', 'stop sign', 'parking meter', 'bench', 'bird', 'cat', 'dog', 'horse', 'sheep', 'cow', 'elephant',
    'bear', 'zebra', 'giraffe', 'backpack', 'umbrella', 'handbag', 'tie', 'suitcase', 'frisbee', 'skis', 'snowboard',
    'sports ball', 'kite', 'baseball bat', 'baseball glove', 'skateboard', 'surfboard', 'tennis racket', 'bottle',
    'wine glass', 'cup', 'fork', 'knife', 'spoon', 'bowl', 'banana', 'apple', 'sandwich', 'orange', 'broccoli',
    'carrot', 'hot dog', 'pizza', 'donut', 'cake', 'chair', 'couch', 'potted plant', 'bed', 'dining table', 'toilet',
    'tv', 'laptop', 'mouse', 'remote', 'keyboard', 'cell phone', 'microwave', 'oven', 'toaster', 'sink', 'refrigerator',
    'book', 'clock', 'vase', 'scissors', 'teddy bear', 'hair drier', 'toothbrush')
_VOC_SET = r'20(0[7-9]|1[0-2])_\w+'
_COCO_SET = r'(train|val|valminusminival|minival|trainval|test|test-dev)20(14|15|17)'


def published_classes(dataset, image_sets):
    """Class names of the image sets 'a+b' without background, if they are VOC's or COCO's by name; else ().

    Args:
        dataset: 'PascalVOC' or 'coco'.
    """
    names, pattern = {'PascalVOC': (VOC_CLASSES, _VOC_SET), 'coco': (COCO_CLASSES, _COCO_SET)}.get(dataset, ((), ''))
    return names if all(re.fullmatch(pattern, name.strip()) for name in image_sets.split('+')) else ()
