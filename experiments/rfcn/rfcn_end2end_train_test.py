"""Train end to end, then test the last checkpoint: `python experiments/rfcn/rfcn_end2end_train_test.py --cfg X.yaml [KEY=VALUE]`."""
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])

from rfcn import test, train_end2end


def main():
    """Both scripts with the same arguments."""
    train_end2end.main(sys.argv[1:])
    test.main(sys.argv[1:])


if __name__ == '__main__':
    main()
