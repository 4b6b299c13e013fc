"""The measurement of several workers; how fast anything is, is not tested."""
import json

import pytest

from experiments.bench import workers
from lib.errors import UserError


def test_the_first_steps_do_not_count(tmp_path):
    # 2 images a step; steps of 4, 3, 1 and 1 s: after these 2/4, 4/7, 6/8 and 8/9 images a second
    lines = [dict(type='train', images_per_s=speed) for speed in (2 / 4, 4 / 7, 6 / 8, 8 / 9)]
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run' / 'e2e-log.jsonl').write_text('\n'.join(map(json.dumps, lines)))
    assert workers.images_a_second(tmp_path, 2) == pytest.approx(2.0)


def test_a_training_that_fails_is_said_and_the_others_are_ended(tmp_path):
    runs = [workers.Run(['sh', '-c', 'echo no such file; exit 3'], tmp_path, 1, {}),
            workers.Run(['sleep', '0.1'], tmp_path, 1, {})]
    with pytest.raises(UserError, match='failed: no such file'):
        workers.speed(runs)


@pytest.mark.slow
def test_all_rows_are_measured_and_nothing_is_left(monkeypatch):
    monkeypatch.setattr(workers, 'STEPS', 2)
    monkeypatch.setattr(workers, 'has_bf16', lambda: False)
    monkeypatch.setitem(workers.SETTINGS, 'SCALES', [[160, 256]])
    rows = workers.run(short=True, depth=18)
    told = [row['who'] for row in rows]
    assert told[:3] == ['one process', '2 apart', '2 workers']
    assert len(rows) in (5, 9)      # without network namespaces there are no slower links
    if len(rows) == 9:
        assert told[3].startswith('2 workers at 10 Gbit/s') and told[8].startswith('3 workers at 1 Gbit/s')
    for row in rows:
        assert row['images/s'] > 0
        images = row['images/s'] * row['step, s']
        assert images == pytest.approx(3 if row['who'].startswith('3') else 2)
        assert ('share of waiting' in row) == ('workers' in row['who'])
