"""Damaged files of every kind give a result or one of our errors; `make fuzz` reads 20,000 of them, here are a few
hundred.
"""
import collections
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import run as fuzz
from tests.fuzz.seeds import all_seeds
from tests.fuzz.targets import Targets

FILES = 300


def test_damaged_files_of_every_kind_give_a_result_or_one_of_our_errors():
    kinds = sorted(all_seeds())
    counts, findings = fuzz.run([(kinds[i % len(kinds)], i // len(kinds)) for i in range(FILES)], seed=7)
    assert findings == [] and sum(counts.values()) == FILES
    outcomes = collections.Counter(outcome for _, outcome in counts.elements())
    assert outcomes['read'] > FILES / 20 and outcomes['DatasetError'] > FILES / 3     # neither all good nor all refused


def test_the_good_files_are_read(tmp_path):
    seeds = all_seeds()
    targets = Targets(str(tmp_path), seeds)
    assert {(kind, targets.run(kind, data)) for kind in seeds for data in seeds[kind]} == {(kind, 'read')
                                                                                           for kind in seeds}


def test_a_crash_a_hang_another_exception_and_a_glutton_are_findings(monkeypatch):
    """The fuzzer itself, on a reader that does all four."""
    monkeypatch.setattr(fuzz, 'HANG_SECONDS', 5)
    monkeypatch.setattr(fuzz, 'work', bad_work)
    jobs = [('xml', number) for number in range(6)]
    counts, findings = fuzz.run(jobs, seed=0)
    crash, hang, error, glutton = findings
    assert [finding.number for finding in findings] == [1, 2, 3, 4]
    assert 'exit status 9' in crash.problem and 'exit status -9' in hang.problem
    assert 'ValueError: surprise' in error.problem
    megabytes = int(re.search(r'took (\d+) MB', glutton.problem).group(1))
    assert 590 <= megabytes <= 650     # of the 600 that it asks for, pages of the process itself beside them
    assert counts['xml', 'read'] == 3     # 0, 5 and the glutton


def test_more_than_a_second_or_500_megabytes_is_too_much():
    assert fuzz.excesses(1.0, 500) == []
    assert fuzz.excesses(1.3, 501) == ['took 1.3 seconds', 'took 501 MB']


class BadTargets:
    """A reader with faults, chosen by the number of the file."""

    def __init__(self):
        self.number = 0

    def run(self, kind, data):
        import os
        import time
        if self.number == 1:
            os._exit(9)
        if self.number == 2:
            time.sleep(1000)
        if self.number == 3:
            raise ValueError('surprise')
        if self.number == 4:
            len(b'x' * (600 * 2 ** 20))
        return 'read'


def bad_work(connection, jobs, seed):
    targets = BadTargets()
    for kind, number in jobs:
        targets.number = number
        connection.send(('begin', kind, number))
        connection.send(('end',) + fuzz._read(targets, kind, b''))
    connection.send(('done',))


text = st.text(max_size=300) | st.lists(st.sampled_from(['a.png', '1', '-2', '3.5', '1e9', 'cat', 'nan', '"', '', ' ',
                                                         '\n', ',', ';', '\t']),
                                        max_size=40).map(','.join)


@pytest.mark.parametrize('kind', ['xml', 'json', 'csv', 'labels', 'names', 'config'])
def test_any_text_gives_a_result_or_one_of_our_errors(kind, tmp_path_factory):
    targets = Targets(str(tmp_path_factory.mktemp(kind)), all_seeds())

    @settings(max_examples=60, deadline=None)
    @given(text)
    def check(content):
        targets.run(kind, content.encode('utf-8', 'surrogatepass'))
    check()


def test_a_mutation_depends_on_the_numbers_alone():
    seeds = all_seeds()
    for kind in seeds:
        assert [fuzz.make(seeds, kind, 1, number) for number in range(20)] == [fuzz.make(seeds, kind, 1, number)
                                                                               for number in range(20)]
