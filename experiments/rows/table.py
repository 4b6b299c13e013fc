"""The published results, one row each: what is run, what paper and release report, which results are acceptable.

A row's name is that of its YAML file and of its shell script. All figures are in per cent. The paper's are those of
arXiv 1605.06409; `from memory`: quoted by its readers, not checked against a copy. MatR and pyR: the READMEs of the
authors' Caffe code for Matlab and of its Python version.
"""
from pathlib import Path
from typing import Dict, NamedTuple, Optional

from lib.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
SEED_STD = 0.39          # mAP of five runs with OHEM and ResNet-50 on VOC07 (77.1 77.3 77.7 77.9 77.0, MatR's README)
VOC_BAND = 2 * SEED_STD  # no such figure is published for COCO

END2END, ALTERNATE, GIVEN, TEST = 'end to end', 'alternating', 'given proposals', 'test alone'


class Row(NamedTuple):
    """One published result."""
    name: str
    what: str
    kind: str                                   # how it is trained
    paper: Optional[Dict[str, float]] = None    # name of the metric -> figure
    release: Optional[Dict[str, float]] = None
    elsewhere: Optional[Dict[str, float]] = None  # other projects' figure; the note says whose
    band: Optional[float] = None                # a run is as published if it is no further below; None: not known
    note: str = ''
    paper_says: str = ''                        # where the paper has the row, but no figure
    seconds: str = ''                           # published times of an image
    starts_from: str = ''                       # row whose network this one starts from, or tests
    cfg: str = ''                               # YAML, where it is not experiments/rfcn/cfgs/<name>.yaml
    script: str = ''                            # where it is not experiments/rfcn/<name>.sh

    @property
    def cfg_path(self):
        """Absolute path of the YAML file."""
        return ROOT / (self.cfg or 'experiments/rfcn/cfgs/%s.yaml' % self.name)

    @property
    def script_path(self):
        """Absolute path of the shell script."""
        return ROOT / (self.script or 'experiments/rfcn/%s.sh' % self.name)

    @property
    def published(self):
        """The figures that a run is held against."""
        return self.paper or self.release or self.elsewhere or {}


def voc(name, what, paper=None, kind=ALTERNATE, note='', **more):
    """A row of the paper's VOC tables."""
    figures = None if paper is None else {'mAP@0.5': paper}
    return Row('paper_' + name, what, kind, figures, band=VOC_BAND, note=note, **more)


def faster(name, what, paper, training, **more):
    """A row of Faster R-CNN, with the seconds of a training step."""
    return voc('voc07_faster_rcnn' + name, 'Faster R-CNN, ' + what, paper, seconds=K40 % '0.42' + TRAINING % training,
               **more)


def coco(name, what, ap, ap50, *by_size, kind=ALTERNATE, note='', **more):
    """A row of the paper's COCO table; by_size: AP of small, medium and large objects."""
    figures = dict(zip(('AP', 'AP50', 'AP_small', 'AP_medium', 'AP_large'), (ap, ap50) + by_size))
    return Row('paper_' + name, what, kind, figures, note=note or SIZES_FROM_MEMORY, **more)


def release(name, what, figures, **more):
    """A row of the release."""
    return Row('resnet_v1_101_' + name, "the release's " + what, END2END, release=figures, **more)


def coco_release(name, what, *figures):
    """A row of the release on COCO: AP, AP50, AP75 and AP of small, medium and large objects."""
    names = ('AP', 'AP50', 'AP75', 'AP_small', 'AP_medium', 'AP_large')
    return release(name, what + ' on COCO test-dev', dict(zip(names, figures)), note=COCO_SERVER)


def photographs(name, what, kind=END2END, note='no published result'):
    """A row on real photographs that a CPU can train; its script takes the data and the weights as arguments."""
    return Row(name, what, kind, note=note, script='experiments/rfcn/%s.sh' % name)


COCO_TRAINED = 'paper_coco_testdev_rfcn_multiscale'
FROM_MEMORY = 'from memory'
SIZES_FROM_MEMORY = 'small, medium, large from memory'
VOC_SERVER = 'mAP from the VOC server'
COCO_SERVER = 'AP from the COCO server'
SAME_R_FCN = 'also the row "R-FCN, 300 RoIs, no OHEM"'
SAME_OHEM = 'also the rows VOC07, ResNet-101, proposals of the RPN; MatR: 79.5, pyR: 79.4'
K40, TITAN, TRAINING = 'test %s s on a K40', 'test %s s on a Titan X (Maxwell)', ', training step %s s'
NWPU = 'published on other draws of the same shares: Faster R-CNN 80.9, SSD 80.5, R-P-Faster R-CNN 76.5'
R_FCN_TIME = K40 % '0.17'

ROWS = [
    voc('voc07_conv4', 'conv4, stride 16, no OHEM', 72.5),
    voc('voc07_conv5_stride32', 'conv5, stride 32, no OHEM', 74.0),
    voc('voc07_rfcn', 'R-FCN 7x7, conv5 a trous, no OHEM', 76.6, note=SAME_R_FCN,
        seconds=R_FCN_TIME + TRAINING % '0.45'),
    voc('voc07_rfcn_3x3', 'R-FCN 3x3, no OHEM', 75.5),
    voc('voc07_rfcn_1x1', 'R-FCN without position sensitivity', paper_says='fails', note='does not converge'),
    voc('voc07_naive_rcnn_1x1', 'naive Faster R-CNN, RoI output 1x1', 61.7),
    voc('voc07_naive_rcnn_7x7', 'naive Faster R-CNN, RoI output 7x7', 68.9),
    voc('voc07_class_rpn', 'class-specific RPN', 67.6, kind=END2END),
    faster('', 'no OHEM', 76.4, '1.2'),
    faster('_ohem300', 'OHEM of 300 RoIs', 79.3, '1.5'),
    faster('_ohem2000', 'OHEM of 2000 RoIs', None, '2.9', paper_says='no figure'),
    voc('voc07_rfcn_ohem300', 'R-FCN, OHEM of 300 RoIs', 79.5, note=SAME_OHEM, seconds=R_FCN_TIME + TRAINING % '0.45'),
    voc('voc07_rfcn_ohem2000', 'R-FCN, OHEM of 2000 RoIs', 79.3, seconds=R_FCN_TIME + TRAINING % '0.46'),
    voc('voc07_rfcn_multiscale', 'R-FCN, multi-scale training', 80.5, seconds=R_FCN_TIME),
    voc('voc07_rfcn_coco', 'R-FCN, multi-scale training, + COCO', 83.6, starts_from=COCO_TRAINED, seconds=R_FCN_TIME),
    voc('voc07_rfcn_resnet50', 'R-FCN, OHEM, ResNet-50', 77.0, note=FROM_MEMORY),
    voc('voc07_rfcn_resnet152', 'R-FCN, OHEM, ResNet-152', 79.6, note=FROM_MEMORY),
    voc('voc07_rfcn_resnet50_multiscale', 'R-FCN, multi-scale training, ResNet-50', 78.7, note=FROM_MEMORY),
    voc('voc07_rfcn_resnet152_multiscale', 'R-FCN, multi-scale training, ResNet-152', 80.4, note=FROM_MEMORY),
    voc('voc07_rfcn_selective_search', 'R-FCN, OHEM, on selective search', 77.2, kind=GIVEN, note=FROM_MEMORY),
    voc('voc07_rfcn_edgeboxes', 'R-FCN, OHEM, on EdgeBoxes', 77.8, kind=GIVEN, note=FROM_MEMORY),
    voc('voc12_rfcn_multiscale', 'VOC12 test: R-FCN, multi-scale training', 77.6, note=VOC_SERVER, seconds=R_FCN_TIME),
    voc('voc12_rfcn_coco', 'VOC12 test: R-FCN, multi-scale training, + COCO', 82.0, note=VOC_SERVER,
        starts_from=COCO_TRAINED, seconds=R_FCN_TIME),
    voc('voc12_faster_rcnn', 'VOC12 test: Faster R-CNN, no OHEM', 73.8, note=VOC_SERVER, seconds=K40 % '0.42'),
    coco('coco_val_faster_rcnn', 'COCO val: Faster R-CNN, no OHEM', 27.2, 48.4, 6.6, 28.6, 45.0,
         seconds=K40 % '0.42'),
    coco('coco_val_rfcn', 'COCO val: R-FCN', 27.6, 48.9, 8.9, 30.5, 42.0, seconds=R_FCN_TIME,
         note='pyR: AP 27.9; ' + SIZES_FROM_MEMORY),
    coco('coco_val_rfcn_multiscale', 'COCO val: R-FCN, multi-scale training', 27.8, 49.1, 8.8, 30.8, 42.2,
         seconds=R_FCN_TIME),
    coco('coco_testdev_rfcn', 'COCO test-dev: R-FCN', 29.2, 51.5, 10.3, 32.4, 43.3, seconds=R_FCN_TIME,
         note='%s; %s; section 4.2 says this pair of multi-scale training' % (COCO_SERVER, SIZES_FROM_MEMORY)),
    coco('coco_testdev_rfcn_multiscale', 'COCO test-dev: R-FCN, multi-scale training', 29.9, 51.9, 10.8, 32.8, 45.0,
         note=COCO_SERVER, seconds=R_FCN_TIME),
    coco('coco_testdev_rfcn_multiscale_testing', 'COCO test-dev: R-FCN, multi-scale training and testing', 31.5, 53.2,
         14.3, 35.5, 44.2, kind=TEST, note='%s; %s' % (COCO_SERVER, SIZES_FROM_MEMORY), starts_from=COCO_TRAINED,
         seconds=K40 % '1.00'),
    release('voc0712_rfcn_end2end_ohem', 'R-FCN on VOC07', {'mAP@0.5': 79.6, 'mAP@0.7': 63.1}, band=VOC_BAND,
            seconds=TITAN % '0.16'),
    release('voc0712_rfcn_dcn_end2end_ohem', 'deformable R-FCN on VOC07', {'mAP@0.5': 82.3, 'mAP@0.7': 67.8},
            band=VOC_BAND, seconds=TITAN % '0.19'),
    coco_release('coco_trainval_rfcn_end2end_ohem', 'R-FCN', 32.1, 54.3, 33.8, 12.8, 34.9, 46.1),
    coco_release('coco_trainval_rfcn_dcn_end2end_ohem', 'deformable R-FCN', 35.7, 56.8, 38.3, 15.2, 38.8, 51.5),
    Row('resnet_v1_101_voc0712_rfcn_alternate_ohem', "R-FCN by alternation, the release's rates", ALTERNATE,
        elsewhere={'mAP@0.5': 79.4}, band=VOC_BAND, note="pyR: 79.4 by alternation and end to end"),
    Row('resnet_v1_50_voc0712_rfcn_end2end_ohem', "ResNet-50, the release's schedule", END2END, band=VOC_BAND,
        elsewhere={'mAP@0.5': 77.4},
        note='MatR: 77.4, five runs; pyR: 77.6 end to end, 77.4 by alternation'),
    photographs('bccd_resnet50', 'blood cells, ResNet-50'),
    photographs('voc2012_animals_resnet50', 'animals of VOC 2012, ResNet-50'),
    photographs('voc2012_animals_resnet50_alternate', 'animals of VOC 2012, ResNet-50, by alternation', ALTERNATE),
    photographs('nwpu_vhr10_resnet50', 'aerial pictures (NWPU VHR-10), ResNet-50', note=NWPU),
    Row('demo', 'demo, from scratch', END2END, note='no published result', cfg='experiments/demo/demo.yaml',
        script='experiments/demo/run.sh'),
    Row('demo_alternate', 'demo by alternation', ALTERNATE, note='no published result',
        cfg='experiments/demo/demo_alternate.yaml'),
]


def find_row(name):
    """The row of that name. Raises a UserError with the names that are similar."""
    for row in ROWS:
        if row.name == name:
            return row
    similar = [row.name for row in ROWS if name in row.name]
    raise UserError('there is no row %r; %s' % (name, 'there are ' + ', '.join(similar or [row.name for row in ROWS])))
