"""What piles up over hours is found, and what only comes and goes is not."""
import json

import pytest

from experiments import soak


def samples(**courses):
    """A hundred samples; a course is a function of the number of the sample."""
    steady = {'MB': lambda n: 500.0, 'handles': lambda n: 10, 'threads': lambda n: 8, 'processes': lambda n: 0}
    return [{name: course(n) for name, course in dict(steady, **courses).items()} for n in range(100)]


@pytest.mark.parametrize('courses, expected', [
    ({}, []),
    ({'threads': lambda n: 8 + n % 2, 'MB': lambda n: 500 + 15 * (n % 3)}, []),     # come and go
    ({'handles': lambda n: 10 + n // 10}, ['9 handles more']),
    ({'threads': lambda n: 8 + min(2, n // 20)}, []),       # MXNet's for operators in Python, started late
    ({'processes': lambda n: n // 50, 'threads': lambda n: 8 + n // 30}, ['3 threads more', '1 processes more']),
    ({'MB': lambda n: 500 + n}, ['91 MB more'])])
def test_what_piles_up_is_told(courses, expected):
    assert soak.faults(samples(**courses)) == expected


def test_a_run_writes_what_was_held_and_draws_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(soak, 'in_process', lambda function, *args: function(*args))
    monkeypatch.setattr(soak, 'held', lambda: {'MB': 500.0, 'handles': 10, 'threads': 8, 'processes': 0})
    assert soak.main(['--part', '100', '--only', 'loader', '--out', str(tmp_path)]) == 0
    assert 'loader, fp32, 100 times: .......... MB 500 to 500, ' in capsys.readouterr().out
    results = json.loads((tmp_path / 'soak.json').read_text())['results']
    assert [len(held) for held in results.values()] == [100]
    assert (tmp_path / 'soak.png').read_bytes().startswith(b'\x89PNG')


def test_what_is_held_is_counted():
    with open('/dev/null'), open('/dev/null'):
        more = soak.held()['handles']
    assert more - soak.held()['handles'] == 2 and soak.held()['threads'] > 0 and soak.held()['MB'] > 10


def test_an_unknown_job_is_refused(capsys):
    with pytest.raises(SystemExit):
        soak.main(['--only', 'sleep'])
    assert "expected some of detection,training,loader, with commas between them, not 'sleep" in capsys.readouterr().err
