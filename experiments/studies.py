"""What the ablation varies (experiments/ablation.py): a study is a base configuration and changes of one thing each."""
from pathlib import Path
from typing import Any, Dict, NamedTuple

HERE = Path(__file__).resolve().parent
NO_MINING = {'TRAIN.ENABLE_OHEM': False}    # as many RoIs per image as OHEM keeps, at random
STRIDE_32 = {'network.CONV5': 'stride32', 'network.RCNN_FEAT_STRIDE': 32}


class Study(NamedTuple):
    """A base and what is held against it."""
    cfg: Path                               # the base's YAML file
    variants: Dict[str, Dict[str, Any]]     # name -> changed keys; the base, without a change, first
    paper: Dict[str, str]                   # name -> the paper's mAP of the variant -> of the base: VOC07, ResNet-101
    caveat: str                             # what the study can show and what it can't

    @property
    def base(self):
        """Name of the base."""
        return next(iter(self.variants))


DEMO = Study(
    HERE / 'demo' / 'demo.yaml',
    {'R-FCN, k = 3, a trous, OHEM': {},
     'k = 1': {'network.POOLED_SIZE': 1},
     'conv5 at stride 32': STRIDE_32,
     'no OHEM': NO_MINING,
     'naive Faster R-CNN, RoI output 3x3': {'symbol': 'small_naive_rcnn'},
     'bf16 convolutions': {'TRAIN.PRECISION': 'bf16'}},  # not of the paper: what faster training on a CPU costs
    {'k = 1': 'fails -> 75.5', 'conv5 at stride 32': '74.0 -> 76.6', 'no OHEM': '76.6 -> 79.5',
     'naive Faster R-CNN, RoI output 3x3': '68.9 (7x7) -> 76.6'},
    '''A narrow network from scratch for a few epochs on rendered things of 24 to 90 pixels: this shows which way a
choice pulls here. It cannot show how much it matters for ResNet-101 on photographs.''')

PHOTOGRAPHS = Study(
    HERE / 'rfcn' / 'cfgs' / 'ablation_voc2012_animals.yaml',
    {'R-FCN, k = 7, a trous, OHEM': {},
     'k = 3': {'network.POOLED_SIZE': 3},
     'k = 1: no position sensitivity': {'network.POOLED_SIZE': 1},
     'conv5 at stride 32': STRIDE_32,
     'conv4 only': {'network.CONV5': 'none'},
     'OHEM keeps all 300 RoIs': {'TRAIN.BATCH_ROIS_OHEM': 300},
     'no OHEM': NO_MINING,
     'class-specific boxes': {'CLASS_AGNOSTIC': False},
     'naive Faster R-CNN, RoI output 1x1': {'symbol': 'resnet_v1_50_naive_rcnn', 'network.POOLED_SIZE': 1},
     'naive Faster R-CNN, RoI output 7x7': {'symbol': 'resnet_v1_50_naive_rcnn'},
     'Faster R-CNN, conv5 for each RoI': {'symbol': 'resnet_v1_50_faster_rcnn', 'network.CONV5': 'stride32',
                                          'network.POOLED_SIZE': 14},
     '2000 RoIs in testing': {'TEST.RPN_POST_NMS_TOP_N': 2000},
     'multi-scale training': {'SCALES': [[240, 400], [300, 500], [360, 600]]}},
    {'k = 3': '75.5 -> 76.6', 'k = 1: no position sensitivity': 'fails -> 76.6', 'conv5 at stride 32': '74.0 -> 76.6',
     'conv4 only': '72.5 -> 76.6', 'no OHEM': '76.6 -> 79.5', 'naive Faster R-CNN, RoI output 1x1': '61.7 -> 76.6',
     'naive Faster R-CNN, RoI output 7x7': '68.9 -> 76.6', 'Faster R-CNN, conv5 for each RoI': '79.3 -> 79.5',
     'multi-scale training': '80.5 -> 79.5'},
    '''ResNet-50 from ImageNet weights, one short schedule for all: a variant that learns more slowly looks worse than
it would after a full training.''')

STUDIES = {'demo': DEMO, 'voc2012_animals': PHOTOGRAPHS}
