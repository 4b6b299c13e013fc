"""Take over a network of another project: an ImageNet classifier as a backbone, or a complete R-FCN of its authors.

    rfcn import --gluoncv resnet50_v1                       a backbone, into model/pretrained_model
    rfcn import --caffe resnet101_rfcn_final.caffemodel     a detector, into model/resnet101_rfcn_final
    rfcn import --mxnet rfcn_coco-0000.params

A backbone's file has the names and the input of this project: red, green, blue from 0 to 255 less their means; what was
left out and which keys the configuration needs is printed. A YAML file beside it has these keys: `rfcn prepare` takes
them from there, a configuration can have that file as its BASE, and a training with others is refused. The folder of a
detector holds its parameters and a config.yaml, ready for `rfcn demo`, `rfcn test` and `Detector`. See
docs/in_and_out.md.
"""
import sys
from pathlib import Path

if __package__ in (None, ''):
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a file: the folder of rfcn and lib, not rfcn itself
    import rfcn  # noqa: F401  gives NumPy 2 the names that MXNet asks for, so before anything imports MXNet

import filecmp
import glob
import os
import re
import shlex

import mxnet as mx
import yaml

from lib.errors import UserError
from lib.utils.console import say
from lib.utils.folders import check_folder, locked_folder, make_folder
from lib.utils.limits import is_there
from lib.utils.whole_file import check_not_read, save_whole
from rfcn import inference
from rfcn.checkpoints import checkpoint
from rfcn.checkpoints.identity import CONFIG, note_of_backbone
from rfcn.cli.script import make_parser, run_script
from rfcn.config.config import dump, load_config, with_overrides
from rfcn.importers.sources import detector_in, from_caffe, from_gluoncv, from_mxnet, from_torch
from rfcn.importers.trunk import RELEASE_MEANS, fold_trunk, pixel_means
from rfcn.symbols import make_symbol
from rfcn.symbols.resnet_v1 import RESNET_V1, ResNetV1

READERS = {'gluoncv': from_gluoncv, 'torch': from_torch, 'caffe': from_caffe, 'mxnet': from_mxnet}
UNLIKE_RELEASE = ('STRIDE_IN_3X3', 'POOL1')  # keys that are set only where the source differs from the release
# What to do with an imported detector, by whether it has an RPN.
NEXT = {True: 'Try it: rfcn demo --cfg %s --params %s --image PICTURE --out DIR',
        False: 'It has no RPN, as the models of the Matlab project. Give it proposals:\n'
               'rfcn test_given --cfg %s --params %s --proposals FILE'}
WIDE = 'Wide and grouped ResNets (wide_resnet50_2, resnext50_32x4d) have another trunk and cannot be imported'


def import_trunk(source, prefix, means, given):
    """Convert a Source, check it against the trunk and write it.

    Args:
        given: what the user called the source, for errors.
        prefix: of the file, which gets '-0000.params'.
        means: red, green, blue, that will be subtracted from the pixels.
    Returns:
        path of the file.
    Raises:
        CheckpointError: an array of another shape than the trunk's: a wide or a grouped ResNet.
        UserError: the source, or another backbone, would be replaced.
    """
    path = checkpoint.params_path(prefix, 0)
    check_not_read([path], [given])
    graph, arg_params, aux_params = trunk_of(source, means)
    checkpoint.check_params(graph, {'data': (1, 3, 224, 224)}, arg_params, aux_params,
                            '%s, a ResNet-%d by its names,' % (given, source.depth), remedy=WIDE)
    make_folder(Path(prefix).parent)

    def write(params, note):
        checkpoint.write_arrays(params, checkpoint.tag_params(arg_params, aux_params))
        if is_there(path) and not filecmp.cmp(params, path, shallow=False):
            raise UserError('%s: another backbone is there, which this one would replace. Give another folder, '
                            '--output FOLDER, or move that file away' % path)
        Path(note).write_text(note_text(source, means), encoding='utf-8')
    save_whole([path, note_of_backbone(path)], write, last_tells=True)
    return path


def trunk_of(source, means):
    """The graph of a Source up to conv5, at stride 32, with its parameters and auxiliary states; `means` as above."""
    arg_params, aux_params = [{name: mx.nd.array(value) for name, value in params.items()}
                              for params in fold_trunk(source.layers, source.input, means)]
    trunk = ResNetV1(RESNET_V1[source.depth], 'stride32', stride_in_3x3=source.stride_in_3x3, pool1=source.pool1)
    return trunk.conv5(trunk.conv4(mx.sym.Variable('data'))), arg_params, aux_params


def note_text(source, means):
    """What a network needs that starts from the backbone, as a configuration that others may have as their BASE."""
    needed = dict(STRIDE_IN_3X3=source.stride_in_3x3, POOL1=source.pool1, PIXEL_MEANS=pixel_means(means))
    return yaml.safe_dump({'network': needed}, default_flow_style=None)


def settings(source, prefix, means):
    """The keys of the section network that suit the source: name -> value."""
    found = {'pretrained': prefix, 'pretrained_epoch': 0, 'PIXEL_MEANS': pixel_means(means)}
    if source.stride_in_3x3:
        found['STRIDE_IN_3X3'] = True
    if source.pool1 != 'ceil':
        found['POOL1'] = source.pool1
    return found


def report(source, path, prefix, means):
    """What was done, to be printed."""
    found = settings(source, prefix, means)
    keys = yaml.safe_dump({'network': found}, sort_keys=False, default_flow_style=None)
    lines = ['%s: ResNet-%d, %d convolutions with their BatchNorm, from the names of %s'
             % (path, source.depth, len(source.layers), source.style),
             'left out: %s (%d in all)' % (', '.join(source.left_out[:6]) or 'nothing', len(source.left_out)),
             'For the network to compute what the source computed, set:', keys.rstrip()]
    unlike = [key for key in UNLIKE_RELEASE if key in found]
    if unlike:
        lines.append('%s: as in the source, not as in the release.' % ' and '.join(unlike))
    if tuple(means) != tuple(source.input.means):
        lines.append('The source subtracts %s (red, green, blue). That is taken into conv1 exactly, except where its '
                     'window leaves the image: there zero stands for another colour, about half a grey level away. '
                     '--means source avoids it.' % ', '.join('%g' % mean for mean in source.input.means))
    return '\n'.join(lines)


def parse(argv):
    """The command line."""
    parser = make_parser(__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument('--gluoncv', metavar='NAME', help="of GluonCV's model zoo: resnet50_v1, resnet101_v1b, ...")
    source.add_argument('--torch', metavar='FILE.pth', help="a state dict of torchvision's resnet18 to resnet152")
    source.add_argument('--caffe', metavar='FILE.caffemodel', help='the original ResNet-50, 101 or 152')
    source.add_argument('--mxnet', metavar='FILE.params',
                        help="saved or exported by GluonCV, or with the release's names")
    parser.add_argument('--means', choices=('release', 'source'),
                        help='which means of the pixels a backbone shall expect (default: release)')
    parser.add_argument('--output', metavar='FOLDER',
                        help='default: model/pretrained_model, for a detector model/NAME OF THE FILE')
    parser.add_argument('--backbone', action='store_true', help='take the backbone alone, also of a detector')
    parser.add_argument('--classes', metavar='A,B,...', default='',
                        help="a detector's classes without background, where they are not VOC's or COCO's")
    return parser.parse_args(argv)


def convert(kind, given, folder, means='release'):
    """Read a classifier, write its trunk into a folder and print what was done.

    Args:
        kind: of READERS. given: the name or the file of the classifier. means: 'release' or 'source'.
    """
    source = READERS[kind](given)
    means = RELEASE_MEANS if means == 'release' else source.input.means
    prefix = str(Path(folder) / ('resnet_v1_%d' % source.depth))
    path = import_trunk(source, prefix, means, given)
    say(report(source, path, prefix, means))


def description(cfg):
    """What an imported detector is, in a few words."""
    boxes = 'one box' if cfg.CLASS_AGNOSTIC else 'a box a class'
    return '%s, %d classes, %s, %d x %d bins' % (cfg.symbol, len(cfg.dataset.CLASSES), boxes,
                                                 cfg.network.POOLED_SIZE, cfg.network.POOLED_SIZE)


def write_detector(detector, given, folder=None):
    """Check an imported detector against the network, write it with its configuration and print what to do with it.

    Args:
        detector: `rfcn.importers.detector.ImportedDetector`. given: path of the source.
        folder: to write to, by default model/NAME OF THE SOURCE.
    Returns:
        path of the parameters.
    Raises:
        CheckpointError: it does not fit the network; the folder has a config.yaml of other parameters.
    """
    name = re.sub(r'-\d{4}$', '', Path(given).stem)
    folder = str(folder or Path('model', name))
    cfg = with_overrides(load_config(), dict(detector.settings, **{
        'TRAIN.model_prefix': name, 'output_path': str(Path('output', name).absolute())}))
    network = make_symbol(cfg)
    symbol, inputs = (network.get_symbol(is_train=False), inference.input_shapes(cfg)) if detector.has_rpn else \
        (network.get_symbol_rfcn(is_train=False), {'data': (1, 3, 256, 256), 'rois': (1, 1, 5)})
    arg_params, aux_params = [{key: mx.nd.array(value) for key, value in params.items()}
                              for params in (detector.arg_params, detector.aux_params)]
    checkpoint.check_params(symbol, inputs, arg_params, aux_params, given)
    path, config = checkpoint.params_path(str(Path(folder, name)), 0), str(Path(folder, CONFIG))
    checkpoint.check_new_pair(path, CONFIG, os.path.join(glob.escape(folder), '*.params'), given)

    def write(params, text):
        checkpoint.write_arrays(params, checkpoint.tag_params(arg_params, aux_params))
        Path(text).write_text(dump(cfg), encoding='utf-8')
    make_folder(folder)
    with locked_folder(folder):
        save_whole([path, config], write, last_tells=True)
    say('%s and %s: %s' % (path, config, description(cfg)))
    say(NEXT[detector.has_rpn] % (shlex.quote(config), shlex.quote(path)))
    return path


def main(argv=None):
    """Entry point."""
    args = parse(argv)
    kind = next(kind for kind in READERS if getattr(args, kind))
    given = getattr(args, kind)
    if args.output:
        check_folder(args.output)
    detector = None if args.backbone else detector_in(kind, given, tuple(filter(None, args.classes.split(','))))
    if detector:
        if args.means:
            raise UserError('--means is for a backbone; %s is a detector, and keeps the means that it was trained with '
                            '(--backbone takes its backbone alone)' % given)
        write_detector(detector, given, args.output)
    else:
        if args.classes:
            raise UserError('--classes names those of a detector; of %s a backbone is imported, which has none' % given)
        convert(kind, given, args.output or str(Path('model', 'pretrained_model')), args.means or 'release')


if __name__ == '__main__':
    run_script(main)
