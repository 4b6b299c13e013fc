"""What keeps MXNet's memory bounded."""
import os
import subprocess
import sys

import pytest

from rfcn._memory import PREPARED
from tests.conftest import ROOT


@pytest.mark.parametrize('given, expected', [({}, str(PREPARED)), ({'MXNET_MKLDNN_CACHE_NUM': '7'}, '7')])
def test_the_number_of_prepared_layers_is_bounded_unless_the_user_says_otherwise(given, expected):
    environment = {name: value for name, value in os.environ.items() if name != 'MXNET_MKLDNN_CACHE_NUM'}
    code = 'import os, rfcn, sys; assert "mxnet" not in sys.modules; print(os.environ["MXNET_MKLDNN_CACHE_NUM"])'
    output = subprocess.run([sys.executable, '-c', code], cwd=str(ROOT), env=dict(environment, **given), check=True,
                            stdout=subprocess.PIPE).stdout
    assert output.decode().strip() == expected
