"""Fixtures of the tests of `lib`."""
import json

import numpy as np
import pytest


@pytest.fixture(scope='session')
def golden_cases(golden):
    """A function of a name: the arrays of that golden file, and the list of its cases."""
    def load(name):
        cases = golden / (name + '.json')
        return np.load(golden / (name + '.npz')), json.loads(cases.read_text()) if cases.exists() else None
    return load


@pytest.fixture(scope='session')
def same_draws():
    """A function that fails unless the global random state is where the original's was after the same case."""
    def check(case):
        assert np.random.randint(1 << 30) == case['npr_randint_2p30_after']
    return check
