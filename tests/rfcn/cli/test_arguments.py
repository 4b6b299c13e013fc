"""The arguments of all scripts: which words are taken, and how the help looks."""
import argparse

import pytest

from rfcn.cli.script import make_parser, positive, some_of, whole_number_from


@pytest.mark.parametrize('word, said', [('0', "from 1, not '0'"), ('x', "from 1, not 'x'"), ('9', '8 at most, not 9'),
                                        ('9' * 5000, '8 at most, not 9999')])
def test_a_number_out_of_its_bounds_is_refused_however_long_it_is(word, said):
    assert whole_number_from(1, 8)('8') == 8
    with pytest.raises(argparse.ArgumentTypeError, match=said):
        whole_number_from(1, 8)(word)


def test_words_that_a_parser_refuses_are_shown_escaped(capsys):
    with pytest.raises(SystemExit):
        make_parser('').parse_args(['--\x1b[31m'])
    assert r'--\x1b[31m' in capsys.readouterr().err


@pytest.mark.parametrize('parse', ['parse_args', 'parse_intermixed_args'])
@pytest.mark.parametrize('words', [['--out', ''], ['--out='], ['--out', ' ']])
def test_an_empty_word_as_of_an_unset_variable_is_refused(words, parse, capsys):
    parser = make_parser('')
    parser.add_argument('--out', default='here')
    with pytest.raises(SystemExit):
        getattr(parser, parse)(words)
    assert 'error: --out is followed by an empty word: give a value, or leave the option out' in capsys.readouterr().err


def test_the_help_keeps_the_lines_of_the_description():
    lines = 'Draw.\n\n    python rfcn/demo.py --image a.jpg\n    python rfcn/demo.py --video b.mp4\n'
    assert lines in make_parser(lines).format_help()


@pytest.mark.parametrize('word', ['0', '-1', 'nan', 'inf', '1e999', 'x', ''])
def test_a_number_above_0_is_taken_and_no_other(word):
    assert positive('1e-3') == 0.001
    with pytest.raises(argparse.ArgumentTypeError, match='expected a number above 0, not %r' % word):
        positive(word)


@pytest.mark.parametrize('text, wrong', [('a,c', 'c'), ('a, b', ' b'), ('', ''), ('a,', '')])
def test_some_of_the_words_are_taken_and_no_others(text, wrong):
    assert some_of(['a', 'b'])('b,a') == ['b', 'a']
    with pytest.raises(argparse.ArgumentTypeError, match='some of a,b, with commas between them, not %r' % wrong):
        some_of(['a', 'b'])(text)
