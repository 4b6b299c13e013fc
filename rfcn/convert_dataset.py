"""Convert a data set: `rfcn convert --from voc --to coco --dataset DIR --sets train --out OUT`.

It needs no MXNet.
"""
import functools
import shlex
import sys
from pathlib import Path

if __package__ in (None, ''):
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a file: the folder of rfcn and lib, not rfcn itself

from lib.dataset import DATASETS
from lib.dataset.convert import convert
from lib.errors import UserError
from lib.utils.console import counted, progress, say
from lib.utils.limits import is_there
from rfcn.cli.script import make_parser, run_script

FORMATS = {'voc' if name == 'PascalVOC' else name: name for name in DATASETS}   # here -> in the configuration


def words(text):
    """The words of a text with commas between them."""
    return [word.strip() for word in text.split(',') if word.strip()]


def parse(argv=None):
    """The arguments."""
    parser = make_parser(__doc__)
    parser.add_argument('--from', dest='source', required=True, choices=list(FORMATS), help='format of the data set')
    parser.add_argument('--to', dest='target', required=True, choices=list(FORMATS), help='format of the new folder')
    parser.add_argument('--dataset', required=True, help='folder of the data set')
    parser.add_argument('--sets', required=True, type=words,
                        help='image sets, separated by commas, such as train,val,test')
    parser.add_argument('--out', required=True, help='new folder')
    parser.add_argument('--classes',
                        help='class names separated by commas, or a file with one per line (default: the data\'s)')
    parser.add_argument('--on_unknown_class', choices=['error', 'ignore'], default='error',
                        help='objects of other classes stop the conversion, or are left out (default error)')
    parser.add_argument('--images', choices=['copy', 'link', 'none'], default='copy',
                        help='what becomes of the images (default copy)')
    parser.add_argument('--origin', type=int, choices=[0, 1], default=0,
                        help='number of the first pixel of a row in a CSV list that is read (default 0)')
    return parser.parse_args(argv)


def main(argv=None):
    """Entry point."""
    args = parse(argv)
    if args.origin and args.source != 'csv':
        raise UserError('--origin is for CSV lists that are read, and --from is %s' % args.source)
    classes = args.classes and (args.classes if is_there(args.classes) else words(args.classes))
    sets, lost = convert(FORMATS[args.source], FORMATS[args.target], args.sets, args.dataset, args.out,
                         classes=classes or None, images=args.images, origin=args.origin,
                         on_unknown_class=args.on_unknown_class,
                         progress=functools.partial(progress, desc='images', unit='image'))
    for image_set, data in sets.items():
        say('%s: %s, %s of %s' % (image_set, counted(len(data.pictures), 'image'),
                                  counted(len(data.table()[0]), 'object'), counted(len(data.classes), 'class')))
    for line in lost:
        say('note: ' + line)
    say('written to %s; for the configuration: dataset.dataset=%s dataset.dataset_path=%s'
        % (args.out, FORMATS[args.target], shlex.quote(args.out)))


if __name__ == '__main__':
    run_script(main)
