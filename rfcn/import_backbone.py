"""Make a pretrained trunk from another project's classifier: `rfcn import --gluoncv resnet50_v1`.

Writes model/pretrained_model/resnet_v1_<depth>-0000.params, in the names and for the input of this project: red, green,
blue from 0 to 255 less their means. Prints what was left out and which keys the configuration needs.
"""
import sys
from pathlib import Path

if __package__ in (None, ''):
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a file: the folder of rfcn and lib, not rfcn itself

import mxnet as mx
import yaml

from rfcn.checkpoints import checkpoint
from rfcn.importers.fold import RELEASE_MEANS, fold_trunk
from rfcn.importers.sources import from_caffe, from_gluoncv, from_mxnet, from_torch
from rfcn.cli.script import make_parser, run_script
from rfcn.symbols.resnet_v1 import RESNET_V1, ResNetV1

READERS = {'gluoncv': from_gluoncv, 'torch': from_torch, 'caffe': from_caffe, 'mxnet': from_mxnet}
UNLIKE_RELEASE = ('STRIDE_IN_3X3', 'POOL1')  # keys that are set only where the source differs from the release
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
    """
    arg_params, aux_params = [{name: mx.nd.array(value) for name, value in params.items()}
                              for params in fold_trunk(source.layers, source.input, means)]
    trunk = ResNetV1(RESNET_V1[source.depth], 'stride32', stride_in_3x3=source.stride_in_3x3, pool1=source.pool1)
    graph = trunk.conv5(trunk.conv4(mx.sym.Variable('data')))
    checkpoint.check_params(graph, {'data': (1, 3, 224, 224)}, arg_params, aux_params,
                            '%s, a ResNet-%d by its names,' % (given, source.depth), remedy=WIDE)
    Path(prefix).parent.mkdir(parents=True, exist_ok=True)
    path = checkpoint.params_path(prefix, 0)
    checkpoint.save_params(path, arg_params, aux_params)
    return path


def settings(source, prefix, means):
    """The keys of the section network that suit the source: name -> value."""
    found = {'pretrained': prefix, 'pretrained_epoch': 0, 'PIXEL_MEANS': [float('%g' % mean) for mean in means[::-1]]}
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
    parser.add_argument('--means', choices=('release', 'source'), default='release',
                        help='which means of the pixels the trunk shall expect (default: %(default)s)')
    parser.add_argument('--output', metavar='FOLDER', default='model/pretrained_model', help='default: %(default)s')
    return parser.parse_args(argv)


def convert(kind, given, folder, means='release'):
    """Read a classifier, write its trunk into a folder and print what was done.

    Args:
        kind: of READERS. given: the name or the file of the classifier. means: 'release' or 'source'.
    Returns:
        the keys of the section network that the trunk needs: name -> value.
    """
    source = READERS[kind](given)
    means = RELEASE_MEANS if means == 'release' else source.input.means
    prefix = str(Path(folder) / ('resnet_v1_%d' % source.depth))
    path = import_trunk(source, prefix, means, given)
    print(report(source, path, prefix, means))
    return settings(source, prefix, means)


def main(argv=None):
    """Entry point."""
    args = parse(argv)
    kind = next(kind for kind in READERS if getattr(args, kind))
    convert(kind, getattr(args, kind), args.output, args.means)


if __name__ == '__main__':
    run_script(main)
