"""Train by alternation, then test the result: `python experiments/rfcn/rfcn_alternate_train_test.py --cfg X.yaml`."""
import sys
from pathlib import Path

if __package__ in (None, ''):
    sys.path[0] = str(Path(__file__).resolve().parents[2])  # run as a file: the project's folder

from rfcn import test, train_alternate
from rfcn.cli.run import parse_config
from rfcn.cli.script import run_script


def main(argv=None):
    """Both scripts with the same arguments."""
    argv = sys.argv[1:] if argv is None else list(argv)
    cfg, _ = parse_config(__doc__, argv)
    test.check_test(cfg)
    params = train_alternate.main(argv)
    test.main(argv + ['--params', params])


if __name__ == '__main__':
    run_script(main)
