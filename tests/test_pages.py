"""The pages at the top and under docs: what they name is there, and commands are as they show them."""
import contextlib
import importlib
import io
import re
import sys
from pathlib import Path

import pytest
import yaml

import rfcn
from rfcn.cli import COMMANDS, main
from rfcn.config.defaults import KEYS

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(path for pattern in ('*.md', 'docs/**/*.md', 'data/*.md', 'experiments/*.md')
               for path in ROOT.glob(pattern))
# Pages that name files of the release, or of the reader.
OF_OTHERS = ('docs/map.md', 'docs/rows.md', 'docs/own_data.md', 'data/README.md')
every_page = pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def anchors(page):
    """What a link may name after the #, of the headings of a page: lower case, blanks as hyphens, no other signs."""
    titles = re.findall(r'^#+ (.+)$', page.read_text(encoding='utf-8'), re.MULTILINE)
    return [re.sub(r'[^\w -]', '', title.lower()).replace(' ', '-') for title in titles]


@every_page
def test_what_a_page_links_to_is_there(page):
    links = re.findall(r'\]\((?!https?:|mailto:)([^)#\s]*)#?([^)\s]*)', page.read_text(encoding='utf-8'))
    targets = [(page.parent / file if file else page, anchor) for file, anchor in links]
    assert [str(file) for file, _ in targets if not file.exists()] == []
    assert [anchor for file, anchor in targets if anchor and anchor not in anchors(file)] == []


@every_page
def test_commands_targets_and_files_that_a_page_names_are_there(page):
    text = page.read_text(encoding='utf-8')
    targets = re.findall(r'^([a-z-]+):', (ROOT / 'Makefile').read_text(), re.MULTILINE)
    assert set(re.findall(r'(?:`|^    )make ([a-z-]+)', text, re.MULTILINE)) <= set(targets)
    commands = re.findall(r'(?:`|^    )(?:python -m )?rfcn (-*[a-z_-]+)', text, re.MULTILINE)
    assert set(commands) <= set(COMMANDS) | {'--version', '--help'}
    scripts = re.findall(r'(?:`|^    )(?:bash|python) ((?:examples|experiments|rfcn)/[\w./]+)', text, re.MULTILINE)
    files = re.findall(r'`((?:lib|rfcn|tests|experiments|data|docs)/[\w./]+)`', text)
    named = scripts + (files if str(page.relative_to(ROOT)) not in OF_OTHERS else [])
    assert [file for file in named if 'NAME' not in file and not (ROOT / file).exists()] == []


@every_page
def test_what_a_page_imports_of_the_project_is_there(page):
    text = page.read_text(encoding='utf-8')
    imports = re.findall(r'(?:`|^)from ((?:rfcn|lib)[\w.]*) import ([\w, ]+)', text, re.MULTILINE)
    assert [(module, name) for module, names in imports for name in names.split(', ')
            if not hasattr(importlib.import_module(module), name.strip())] == []


def calls(text):
    """The words behind each `rfcn` of a page, in a code block or in backticks; `rfcn launch ... -- train` is two."""
    lines = re.findall(r'(?:`|^ {4})(?:python -m )?rfcn ([a-z][^`\n]*)', re.sub(r' *\\\n *', ' ', text), re.MULTILINE)
    return [part.split() for line in lines for part in re.sub(r'\s#.*', '', line).split(' -- ')]


def strange(words, options):
    """The options and keys of a call that its command, or the configuration, does not have."""
    names = re.findall(r'(?<![\w-])--[a-z][\w-]*', ' '.join(words))
    keys = re.findall(r'(?<![\w.-])([A-Za-z][\w.]*)=', ' '.join(words))
    return set(names) - options[words[0]] | set(keys) - set(KEYS) - {'KEY'}


@pytest.fixture(scope='module')
def options():
    """Command -> its options, as its --help names them."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', ['rfcn'])
        patch.setattr(sys, 'path', list(sys.path))
        for name in COMMANDS:
            with contextlib.redirect_stdout(io.StringIO()) as printed, pytest.raises(SystemExit):
                main([name, '--help'])
            found[name] = set(re.findall(r'--[a-z][\w-]*', printed.getvalue()))
    return found


@every_page
def test_commands_of_a_page_have_the_options_and_keys_that_it_gives_them(page, options):
    found = [words for words in calls(page.read_text(encoding='utf-8')) if words[0] in COMMANDS]
    assert {' '.join(words): strange(words, options) for words in found if strange(words, options)} == {}


def test_an_option_or_a_key_that_does_not_exist_is_found(options):
    text = '`rfcn test --fast`\n\n    rfcn launch --workers 2 -- train \\\n        TRAIN.speed=1 seed=2    # --gone\n'
    assert calls(text) == [['test', '--fast'], ['launch', '--workers', '2'], ['train', 'TRAIN.speed=1', 'seed=2']]
    assert [strange(words, options) for words in calls(text)] == [{'--fast'}, set(), {'TRAIN.speed'}]


def test_the_citation_has_the_version_and_names_the_authors_of_the_paper():
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text(encoding='utf-8'))
    assert citation['version'] == rfcn.__version__
    paper = citation['preferred-citation']
    assert [author['family-names'] for author in paper['authors']] == ['Dai', 'Li', 'He', 'Sun']
    assert '## %s' % rfcn.__version__ in (ROOT / 'CHANGELOG.md').read_text(encoding='utf-8')
