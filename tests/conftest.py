"""Fixtures shared by all tests."""
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope='session')
def golden():
    """The folder with the numbers that the original's own code computed; the test is skipped where it is absent."""
    folder = Path(os.environ.get('RFCN_GOLDEN', ROOT.parent / 'shared' / 'golden'))
    if not folder.is_dir():
        pytest.skip('the golden vectors are not here: set RFCN_GOLDEN to their folder')
    return folder
