"""`python -m rfcn NAME ...`: see `rfcn/cli`."""
from rfcn.cli import run

if __name__ == '__main__':
    run()
