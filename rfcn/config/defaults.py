"""Every key of the configuration: its default, its kind, its meaning and unit.

Names, sections and defaults are the release's; keys that the release does not have are marked `ours`.

Anything a run needs to know is here and nowhere else. An experiment's YAML holds only what differs.
"""
from collections import namedtuple

from lib.utils.limits import MAX_PIXELS
from rfcn.config.kinds import (
    anchor_shapes,
    at_least_one_scale,
    boxes,
    channels,
    choice,
    class_names,
    count_or_minus_one,
    devices,
    epoch_count,
    epochs,
    flag,
    fraction,
    images,
    multipliers,
    name_part,
    one_set,
    path,
    real,
    scale_or_none,
    scales,
    text,
    tuple_of,
    whole,
)

Key = namedtuple('Key', 'default kind')

_TOP = {
    'output_path': Key('', path),                 # folder under which checkpoints, logs and detections are written
    'symbol': Key('', text),                      # name of the network, such as resnet_v1_101_rfcn
    'gpus': Key('', devices),                     # GPU numbers '0,1'; '' is the CPU
    'CLASS_AGNOSTIC': Key(True, flag),            # one box for all classes (true) or one box per class (false)
    'SCALES': Key(((600, 1000),), at_least_one_scale),  # (shorter side, most of the longer), pixels; drawn per image
    # ours: follow the release where this project departs from it on purpose and both can be computed: images without
    # objects are dropped, objects that no anchor touches match every anchor of overlap 0, padding RoIs are background,
    # box sizes are decoded unclipped, batches that come out even are not shuffled, boxes of a COCO json follow the
    # release's rule and are evaluated as written, boxes of one pixel train in the other formats (docs/departures.md)
    'RELEASE_RULES': Key(False, flag),
    'seed': Key(0, whole(0, 2 ** 32 - 1)),        # ours: seed of every random draw of a run
    'ALLOW_CHANGED': Key((), tuple_of(text)),     # ours: keys, such as network.PIXEL_MEANS, or data, that may
                                                  # differ from a checkpoint's (docs/checkpoints.md)
}

_DEFAULT = {
    'frequent': Key(20, whole(1)),                # batches between two lines of the log
    # MXNet's key-value store that adds up over the devices of a process; rfcn launch brings its own, dist_sync
    'kvstore': Key('device', choice('device', 'local', 'nccl', 'dist_sync', 'dist_device_sync')),
    'log_level': Key('INFO', choice('DEBUG', 'INFO', 'WARNING', 'ERROR')),  # ours
}

_NETWORK = {
    # what training starts from: prefix of a checkpoint; ours: or its file, x.params; '' starts from random weights
    'pretrained': Key('', path),
    'pretrained_epoch': Key(0, whole(0, 9999)),   # number of a prefix's checkpoint, as in prefix-0000.params
    'PRETRAINED_CLASSES': Key((), class_names),   # ours: its classes, to keep those of the same name
    'PIXEL_MEANS': Key((0.0, 0.0, 0.0), tuple_of(real(), 3)),  # blue, green, red: subtracted from pixels of 0 to 255
    'IMAGE_STRIDE': Key(0, whole(0, 4096)),       # pixels: images are padded to a multiple of it; 0 pads nothing
    'RPN_FEAT_STRIDE': Key(16, whole(1, 4096)),   # pixels of the image for one cell of the RPN's feature map
    'RCNN_FEAT_STRIDE': Key(16, whole(1, 4096)),  # the same for the map that the RoIs are pooled from
    'FIXED_PARAMS': Key(('gamma', 'beta'), tuple_of(text)),  # not trained: parameters with one of these in their name
    'FIXED_PARAMS_SHARED': Key(('gamma', 'beta'), tuple_of(text)),  # the same, once alternating shares the trunk
    'ANCHOR_SCALES': Key((8.0, 16.0, 32.0), anchor_shapes),  # side of a square anchor, in RPN_FEAT_STRIDE
    'ANCHOR_RATIOS': Key((0.5, 1.0, 2.0), anchor_shapes),  # height / width
    'NUM_ANCHORS': Key(9, whole(1)),              # derived: number of scales times number of ratios
    'POOLED_SIZE': Key(7, whole(1, 64)),          # ours: k, bins per side of an RoI
    'CONV5': Key('atrous', choice('atrous', 'stride32', 'none')),  # ours: dilated at stride 16, plain, left out
    'STRIDE_IN_3X3': Key(False, flag),            # ours: a unit's stride lies in its 3x3 convolution (torchvision)
    'POOL1': Key('ceil', choice('ceil', 'padded')),  # ours: pooling after conv1: Caffe's, or torchvision's
    'CONV_NEW_CHANNELS': Key(1024, channels),     # ours: channels of conv_new_1, between the trunk and the score maps
    'RPN_CHANNELS': Key(512, channels),           # ours: channels of rpn_conv_3x3
    'SMALL_CHANNELS': Key((16, 32, 64, 128), tuple_of(channels, 4)),  # ours: the small trunk's channels in each stage
    'SMALL_BLOCKS': Key(2, whole(1, 64)),         # ours: the small trunk's blocks in each stage
}

_DATASET = {
    'dataset': Key('PascalVOC', text),            # format of the data: PascalVOC, coco; ours: csv, yolo
    'image_set': Key('2007_trainval', text),      # training images; several sets are joined with +
    'test_image_set': Key('2007_test', one_set),  # images to test on
    'val_image_set': Key('', one_set),            # ours: images that rfcn train validates on; '' is none
    'root_path': Key('./data', path),             # folder of all data sets
    'dataset_path': Key('./data/VOCdevkit', path),  # folder of this data set
    'NUM_CLASSES': Key(21, whole(2, 100000)),     # with the background; derived if CLASSES is given
    'CLASSES': Key((), class_names),              # ours: names without background, or a file of them; (): the data's
    'proposal': Key('rpn', text),                 # RoIs of a graph that has no RPN: rpn, selective_search
    # ours: VOC AP at 11 recalls (true) or area; auto: area, but for VOC's own data before 2010
    'USE_07_METRIC': Key('auto', choice('auto', False, True)),
    'CSV_ORIGIN': Key(0, choice(0, 1)),           # ours: number of the first pixel of a row in a CSV list
    'on_bad_image': Key('error', choice('error', 'skip')),  # ours: an unreadable image stops the run or is left out
    'on_unknown_class': Key('error', choice('error', 'ignore')),  # ours: an object of no class stops or is left out
    'MAX_PIXELS': Key(MAX_PIXELS, whole(1, 2 ** 53)),  # ours: an image of more is refused before it is decoded
}


def _stage(name):
    """The three keys of one stage of alternating training."""
    return {name + '_lr': Key(0.0, real(0)),      # learning rate
            name + '_lr_step': Key((), epochs),   # epochs at which it drops
            name + '_epoch': Key(0, epoch_count)}  # epochs to train; ours: also fractions


_ALTERNATE = {
    'RPN_BATCH_IMAGES': Key(0, images(0)),        # images per device while the RPN is trained; 0 is TRAIN.BATCH_IMAGES
    'RCNN_BATCH_IMAGES': Key(0, images(0)),       # the same while the R-FCN head is trained
    **_stage('rpn1'), **_stage('rfcn1'), **_stage('rpn2'), **_stage('rfcn2'), **_stage('rpn3'),
}

_TRAIN = {
    # schedule; one epoch is one pass over the images and, with FLIP, their mirror images
    # learning rate; gradients are summed over devices, and are means over a device's images and over GRAD_ACCUM
    # batches: with other devices keep lr and epochs; with BATCH_IMAGES or GRAD_ACCUM n times as large, multiply lr by n
    'lr': Key(0.0, real(0)),
    'lr_step': Key((), epochs),                   # epochs, also fractions, at which lr is multiplied by lr_factor
    'lr_factor': Key(0.1, fraction),
    'warmup': Key(False, flag),                   # start with warmup_lr
    'warmup_lr': Key(0.0, real(0)),
    'warmup_step': Key(0, whole(0)),              # updates before the rate becomes lr
    'warmup_mode': Key('constant', choice('constant', 'linear')),  # ours: linear: from warmup_lr up to lr
    # ours: linear scaling; lr, warmup_lr and warmup_step are for the mean gradient of so many images per update; they
    # are scaled to the real number; 0: they are taken as they are
    'LR_IMAGES': Key(0, whole(0)),
    'momentum': Key(0.9, fraction),
    'wd': Key(0.0005, real(0)),                   # weight decay
    'begin_epoch': Key(0, whole(0, 9999)),        # with RESUME: the epoch whose checkpoint is resumed
    'end_epoch': Key(0, epoch_count),             # epochs to train; ours: also fractions. The last checkpoint has this
                                                  # number, rounded up
    'model_prefix': Key('', name_part),                # first part of a checkpoint's file name
    'RESUME': Key(False, choice(False, True, 'auto')),  # true: from begin_epoch; ours: auto, from the newest checkpoint
    'OVERWRITE': Key(False, flag),                # ours: a new run removes another run's checkpoints from its folder
    'GRAD_ACCUM': Key(1, whole(1)),               # ours: batches whose gradients are summed for one update
    'CLIP_GRADIENT': Key(0.0, real(0)),           # ours: bound of each element of a gradient; 0 is none
    'FREEZE': Key((), tuple_of(text)),            # ours: parameters of these prefixes are not trained either
    'LR_MULT': Key({}, multipliers),              # ours: name prefix to multiplier of the learning rate
    'PRECISION': Key('fp32', choice('fp32', 'bf16')),  # ours: bf16 convolutions on a CPU that has the instructions
    # ours: gradients between workers; fp16: half the bytes, added up in 16 bits, for slow links (docs/several_hosts.md)
    'WIRE_PRECISION': Key('fp32', choice('fp32', 'fp16')),
    'EVAL_PERIOD': Key(1, whole(0)),              # ours: epochs between two validations on val_image_set; 0 is never
    'KEEP_CHECKPOINTS': Key(0, whole(0)),         # ours: older checkpoints than that many are deleted; 0 keeps all
    'CHECKPOINT_PERIOD': Key(1, whole(1)),        # ours: epochs between two checkpoints
    # images
    'FLIP': Key(True, flag),                      # train on mirror images too
    'KEEP_EMPTY': Key(True, flag),                # ours: images without objects train, as background
    'SHUFFLE': Key(True, flag),
    'BATCH_IMAGES': Key(2, images(1)),            # images per device
    'ASPECT_GROUPING': Key(True, flag),           # a batch holds landscapes only or portraits only
    'MAX_GT_BOXES': Key(0, boxes(0)),             # ours: rows of gt_boxes; 0: the most objects of a training image
    'WORKERS': Key(2, whole(0, 256)),             # ours: threads that read images ahead; 0 reads in the main thread
    # RoIs
    'ENABLE_OHEM': Key(False, flag),              # train on the RoIs of highest loss
    'BATCH_ROIS': Key(128, count_or_minus_one),   # RoIs per device that the head sees, shared by its images; -1 is all
    'BATCH_ROIS_OHEM': Key(128, boxes(1)),        # RoIs per image that OHEM keeps
    'FG_FRACTION': Key(0.25, fraction),           # most of a sample that are objects
    'FG_THRESH': Key(0.5, fraction),              # IoU from which on an RoI is an object
    'BG_THRESH_HI': Key(0.5, fraction),           # background: IoU in [BG_THRESH_LO, BG_THRESH_HI)
    'BG_THRESH_LO': Key(0.0, fraction),
    'BBOX_REGRESSION_THRESH': Key(0.5, fraction),  # alternating: IoU from which on a proposal's box is trained
    'BBOX_WEIGHTS': Key((1.0,) * 4, tuple_of(real(0), 4)),  # of the losses of dx, dy, dw, dh
    'BBOX_NORMALIZATION_PRECOMPUTED': Key(False, flag),  # BBOX_MEANS, BBOX_STDS are given, not measured
    'BBOX_MEANS': Key((0.0,) * 4, tuple_of(real(), 4)),  # subtracted from dx, dy, dw, dh, which are then
    'BBOX_STDS': Key((0.1, 0.1, 0.2, 0.2), tuple_of(real(1e-6), 4)),  # divided by these
    # anchors
    'RPN_BATCH_SIZE': Key(256, whole(1)),         # anchors per image
    'RPN_FG_FRACTION': Key(0.5, fraction),        # most of them that are objects
    'RPN_POSITIVE_OVERLAP': Key(0.7, fraction),   # IoU from which on an anchor is an object
    'RPN_NEGATIVE_OVERLAP': Key(0.3, fraction),   # IoU below which it is background
    'RPN_CLOBBER_POSITIVES': Key(False, flag),    # background wins where both hold
    'RPN_BBOX_WEIGHTS': Key((1.0,) * 4, tuple_of(real(0), 4)),
    # proposals
    'CXX_PROPOSAL': Key(True, flag),              # MXNet's operator (true) or the Python operator
    'RPN_NMS_THRESH': Key(0.7, fraction),         # IoU above which the worse of two proposals goes
    'RPN_PRE_NMS_TOP_N': Key(12000, whole(-1)),   # best anchors that enter NMS; -1 or 0 is all
    'RPN_POST_NMS_TOP_N': Key(2000, boxes(1)),    # proposals per image
    'RPN_MIN_SIZE': Key(16, whole(0)),            # pixels of the original image; smaller proposals go
    'ALTERNATE': _ALTERNATE,
}

_TEST = {
    'BATCH_IMAGES': Key(1, images(1)),            # images per device
    'SCALES': Key((), scales),                    # ours: as SCALES; detections are merged. Empty: the first of SCALES
    'FLIP': Key(False, flag),                     # ours: test the mirror image too
    'PRECISION': Key('fp32', choice('fp32', 'bf16', 'int8')),  # ours: bf16 as in TRAIN, int8 with an INT8 model
    'CXX_PROPOSAL': Key(True, flag),              # these five as in TRAIN
    'RPN_NMS_THRESH': Key(0.7, fraction),
    'RPN_PRE_NMS_TOP_N': Key(6000, whole(-1)),
    'RPN_POST_NMS_TOP_N': Key(300, boxes(1)),
    'RPN_MIN_SIZE': Key(16, whole(0)),
    'PROPOSAL_NMS_THRESH': Key(0.7, fraction),    # these four where proposals are written for alternating training
    'PROPOSAL_PRE_NMS_TOP_N': Key(20000, whole(-1)),
    'PROPOSAL_POST_NMS_TOP_N': Key(2000, boxes(1)),
    'PROPOSAL_MIN_SIZE': Key(16, whole(0)),
    'PROPOSAL_SCALE': Key((), scale_or_none),     # ours: the scale they are made at. Empty: the first of TEST.SCALES,
                                                  # or else of SCALES
    'SCORE_THRESH': Key(0.001, fraction),         # ours: detections of a lower score are dropped before NMS
    'NMS': Key(0.3, fraction),                    # IoU above which the worse of two detections of a class goes
    'NMS_METHOD': Key('nms', choice('nms', 'soft_linear', 'soft_gaussian')),  # ours
    'SOFT_NMS_SIGMA': Key(0.5, real(1e-6)),       # ours: soft_gaussian multiplies scores by exp(-IoU^2 / this)
    'BOX_VOTING': Key(False, flag),               # ours: a kept box becomes the mean of those that overlap it
    'BOX_VOTING_THRESH': Key(0.5, fraction),      # ours: from this IoU on
    'max_per_image': Key(300, whole(-1)),         # detections per image; -1 or 0 is no limit
    'test_epoch': Key(0, whole(0, 9999)),         # number of the checkpoint to test; 0: that of TRAIN.end_epoch,
                                                  # or what alternating training has joined
    'QUANTIZE': {                                 # ours: what INT8 is made from
        'CALIB_IMAGES': Key(32, whole(1)),        # training images to calibrate on
        'CALIB_MODE': Key('naive', choice('naive', 'entropy')),
        'FP32_LAYERS': Key((), tuple_of(text)),   # layers that stay fp32
    },
}


def _flatten(sections, prefix=''):
    """{'TRAIN': {'lr': key}} to {'TRAIN.lr': key}."""
    flat = {}
    for name, entry in sections.items():
        flat.update({prefix + name: entry} if isinstance(entry, Key) else _flatten(entry, prefix + name + '.'))
    return flat


KEYS = _flatten({**_TOP, 'default': _DEFAULT, 'network': _NETWORK, 'dataset': _DATASET, 'TRAIN': _TRAIN, 'TEST': _TEST})

# Keys of the release that are read and mean nothing here.
LEGACY = {
    'MXNET_VERSION': 'the installed mxnet is used, there is no external/mxnet/<version> to choose from',
    'TRAIN.END2END': 'the script says it: rfcn/train_end2end.py or rfcn/train_alternate.py',
    'TRAIN.RPN_POSITIVE_WEIGHT': 'all sampled anchors count alike, as in the release, which never read it',
    'TEST.HAS_RPN': 'the script says it: rfcn/test.py with the RPN, `rfcn test_given` on proposals from files',
}

# Pairs of keys of which the first must not exceed the second.
ORDER = (
    ('TRAIN.BG_THRESH_LO', 'TRAIN.BG_THRESH_HI'),
    ('TRAIN.RPN_NEGATIVE_OVERLAP', 'TRAIN.RPN_POSITIVE_OVERLAP'),
    ('TRAIN.begin_epoch', 'TRAIN.end_epoch'),
)
