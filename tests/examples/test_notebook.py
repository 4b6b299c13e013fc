"""The notebook runs from its first cell to its last, with fewer pictures and seconds of training."""
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / 'examples' / 'from_data_to_report.ipynb'
SHORTER = {'MINUTES = 3 ': 'MINUTES = 0.01 ', 'train=300, val=30, test=60': 'train=24, val=6, test=6'}
AS_NOTEBOOK = '''
import sys, nbformat, nbclient
notebook = nbformat.read(sys.argv[1], 4)
nbclient.NotebookClient(notebook, timeout=600, kernel_name='python3').execute()
print('\\n'.join(output.text for cell in notebook.cells if cell.cell_type == 'code'
                for output in cell.outputs if output.output_type == 'stream'))
'''


def shortened():
    """The notebook with small numbers in the place of its own, which must be there."""
    text = NOTEBOOK.read_text(encoding='utf-8')
    for long, short in SHORTER.items():
        assert text.count(long) == 1, long
        text = text.replace(long, short)
    return text


def run(arguments, folder):
    """What Python prints in a folder; it must succeed."""
    environment = dict(os.environ, MPLBACKEND='Agg', PYTHONPATH=str(ROOT), JUPYTER_PLATFORM_DIRS='1')
    done = subprocess.run([sys.executable] + arguments, cwd=str(folder), env=environment, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout
    return done.stdout


def check(printed, folder):
    """What a reader of the notebook gets."""
    assert 'mAP_area@0.5' in printed and 'drawn in work/drawings/test_0000.png' in printed
    for name in ('work/looks/training.html', 'work/report/report.html', 'work/drawings/test_0003.png'):
        assert (folder / name).stat().st_size > 1000, name


def test_the_notebook_s_cells_run_as_a_script(tmp_path):
    cells = [''.join(cell['source']) for cell in json.loads(shortened())['cells'] if cell['cell_type'] == 'code']
    (tmp_path / 'cells.py').write_text('\n\n'.join(cells), encoding='utf-8')
    check(run(['cells.py'], tmp_path), tmp_path)


@pytest.mark.slow
def test_the_notebook_runs_in_jupyter_s_kernel(tmp_path):
    for package in ('nbclient', 'ipykernel'):
        pytest.importorskip(package, reason='%s is not installed: pip install %s' % (package, package))
    (tmp_path / 'short.ipynb').write_text(shortened(), encoding='utf-8')
    check(run(['-c', AS_NOTEBOOK, 'short.ipynb'], tmp_path), tmp_path)


def test_the_notebook_is_stored_without_outputs():
    cells = json.loads(NOTEBOOK.read_text(encoding='utf-8'))['cells']
    assert [cell['outputs'] for cell in cells if cell['cell_type'] == 'code' and cell['outputs']] == []
