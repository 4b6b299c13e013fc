"""Make a pretrained trunk from another project's classifier: `python rfcn/import_backbone.py --gluoncv resnet50_v1`.

Writes model/pretrained_model/resnet_v1_<depth>-0000.params, in the names and for the input of this project: red, green,
blue from 0 to 255 less their means. Prints what was left out and which keys the configuration needs.
"""
import sys
from pathlib import Path

if __package__ in (None, ''):
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a file: the folder of rfcn and lib, not rfcn itself

import argparse

import mxnet as mx

from lib.errors import CheckpointError
from rfcn.core import checkpoint
from rfcn.importers.fold import RELEASE_MEANS, fold_trunk
from rfcn.importers.sources import from_caffe, from_gluoncv, from_mxnet, from_torch
from rfcn.symbols.resnet_v1 import RESNET_V1, ResNetV1

READERS = {'gluoncv': from_gluoncv, 'torch': from_torch, 'caffe': from_caffe, 'mxnet': from_mxnet}


def import_trunk(source, prefix, means):
    """Convert a Source, check it against the trunk and write it.

    Args:
        prefix: of the file, which gets '-0000.params'.
        means: red, green, blue, that will be subtracted from the pixels.
    Returns:
        path of the file.
    Raises:
        CheckpointError: an array of another shape than the trunk's: a wide or a grouped ResNet.
    """
    arg_params, aux_params = [{name: mx.nd.array(value) for name, value in params.items()}
                              for params in fold_trunk(source.layers, source.input, means)]
    trunk = ResNetV1(RESNET_V1[source.depth], 'stride32', stride_in_3x3=source.stride_in_3x3, pool1=source.pool1)
    graph = trunk.conv5(trunk.conv4(mx.sym.Variable('data')))
    checkpoint.check_params(graph, {'data': (1, 3, 224, 224)}, arg_params, aux_params, 'the imported %s' % source.style)
    Path(prefix).parent.mkdir(parents=True, exist_ok=True)
    path = checkpoint.params_path(prefix, 0)
    checkpoint.save_params(path, arg_params, aux_params)
    return path


def settings(source, prefix, means):
    """The keys of the configuration that suit the source, as YAML."""
    lines = ['network:', '  pretrained: %s' % prefix, '  pretrained_epoch: 0',
             '  PIXEL_MEANS: [%s]' % ', '.join('%g' % mean for mean in means[::-1])]
    if source.stride_in_3x3:
        lines.append('  STRIDE_IN_3X3: true  # as in the source, not as in the release')
    if source.pool1 != 'ceil':
        lines.append('  POOL1: %s  # as in the source, not as in the release' % source.pool1)
    return '\n'.join(lines)


def report(source, path, prefix, means):
    """What was done, to be printed."""
    lines = ['%s: ResNet-%d, %d convolutions with their BatchNorm, from the names of %s'
             % (path, source.depth, len(source.layers), source.style),
             'left out: %s (%d in all)' % (', '.join(source.left_out[:6]) or 'nothing', len(source.left_out)),
             'For the network to compute what the source computed, set:', settings(source, prefix, means)]
    if tuple(means) != tuple(source.input.means):
        lines.append('The source subtracts %s (red, green, blue). That is taken into conv1 exactly, except where its '
                     'window leaves the image: there zero stands for another colour, about half a grey level away. '
                     '--means source avoids it.' % ', '.join('%g' % mean for mean in source.input.means))
    return '\n'.join(lines)


def parse(argv):
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument('--gluoncv', metavar='NAME', help="of GluonCV's model zoo: resnet50_v1, resnet101_v1b, ...")
    source.add_argument('--torch', metavar='FILE.pth', help="a state dict of torchvision's resnet18 to resnet152")
    source.add_argument('--caffe', metavar='FILE.caffemodel', help='the original ResNet-50, 101 or 152')
    source.add_argument('--mxnet', metavar='FILE.params',
                        help="saved or exported by GluonCV, or with the release's names")
    parser.add_argument('--means', choices=('release', 'source'), default='release',
                        help='which means of the pixels the trunk shall expect (default: %(default)s)')
    parser.add_argument('--output', metavar='FOLDER', default='model/pretrained_model', help='default: %(default)s')
    return parser.parse_args(argv)


def main(argv=None):
    """Entry point. Returns the exit status."""
    args = parse(argv)
    kind = next(kind for kind in READERS if getattr(args, kind))
    try:
        source = READERS[kind](getattr(args, kind))
        means = RELEASE_MEANS if args.means == 'release' else source.input.means
        prefix = str(Path(args.output) / ('resnet_v1_%d' % source.depth))
        path = import_trunk(source, prefix, means)
    except (CheckpointError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(report(source, path, prefix, means))
    return 0


if __name__ == '__main__':
    sys.exit(main())
