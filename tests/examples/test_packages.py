"""What the examples say where a package is not installed."""
import subprocess
import sys

import pytest

from tests.conftest import ROOT


@pytest.mark.parametrize('script, remedy', [('serve.py', 'call pip install ".[serve]" in the project'),
                                            ('detect_onnx.py', 'pip install numpy onnxruntime')])
def test_an_example_without_its_packages_says_what_to_install(script, remedy, tmp_path):
    ended = subprocess.run([sys.executable, '-S', '-E', str(ROOT / 'examples' / script)], cwd=str(tmp_path),
                           stderr=subprocess.PIPE)
    said = ended.stderr.decode()
    assert ended.returncode == 1 and remedy in said and said.startswith('error: ') and said.count('\n') == 1
