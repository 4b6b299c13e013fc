"""Train by alternation, then test the result: `python experiments/rfcn/rfcn_alternate_train_test.py --cfg X.yaml`."""
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])

from rfcn import test, train_alternate


def main():
    """Both scripts with the same arguments."""
    params = train_alternate.main(sys.argv[1:])
    test.main(sys.argv[1:] + ['--params', params])


if __name__ == '__main__':
    main()
