"""Train and test on proposals from elsewhere: `python experiments/rfcn/rfcn_given_train_test.py --cfg X.yaml`.

The proposals of an image set such as VOC2007_trainval are looked for in VOC2007_trainval.npz, .mat or .pkl of a folder:
data/proposals/<dataset.proposal>, unless --proposal_folder names another.
"""
import sys
from pathlib import Path

if __package__ in (None, ''):
    sys.path[0] = str(Path(__file__).resolve().parents[2])  # run as a file: the project's folder

from rfcn import data_sets, test, train_alternate
from rfcn.cli.run import parse_config
from rfcn.cli.script import run_script
from rfcn.propose import with_proposals

EXTENSIONS = ('.npz', '.mat', '.pkl')


def proposal_file(folder, imdb):
    """The file of an image set, looked into: it has boxes for each image.

    Raises:
        FileNotFoundError: there is none.
        DatasetError: it is that of other images, or damaged.
    """
    candidates = [Path(folder) / (imdb.name + extension) for extension in EXTENSIONS]
    for path in candidates:
        if path.is_file():
            with_proposals(imdb, str(path))  # an error in those of the test set is due before training, not after it
            return str(path)
    raise FileNotFoundError('there are no proposals of %s: expected one of the files %s (data/README.md, "Proposals", '
                            'says what is in them)' % (imdb.name, ', '.join(map(str, candidates))))


def add_arguments(parser):
    """Add the arguments of this script."""
    parser.add_argument('--proposal_folder', help='default: data/proposals/<dataset.proposal>')


def main(argv=None):
    """Both scripts with the same arguments."""
    cfg, args = parse_config(__doc__.splitlines()[0], argv, add_arguments)
    test.check_test(cfg)
    folder = args.proposal_folder or Path(cfg.dataset.root_path) / 'proposals' / cfg.dataset.proposal
    files = [[proposal_file(folder, imdb) for imdb in data_sets.datasets(cfg, image_sets)]
             for image_sets in (cfg.dataset.image_set, cfg.dataset.test_image_set)]
    arguments = ['--cfg', args.cfg] + args.overrides
    for part, paths in zip((train_alternate.main_given, test.main_given), files):
        part(arguments + [word for path in paths for word in ('--proposals', path)])


if __name__ == '__main__':
    run_script(main)
