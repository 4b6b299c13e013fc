"""The pages at the top and under docs: what they name is there."""
import re
from pathlib import Path

import pytest
import yaml

import rfcn
from rfcn.cli import COMMANDS

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


def test_the_citation_has_the_version_and_names_the_authors_of_the_paper():
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text(encoding='utf-8'))
    assert citation['version'] == rfcn.__version__
    paper = citation['preferred-citation']
    assert [author['family-names'] for author in paper['authors']] == ['Dai', 'Li', 'He', 'Sun']
    assert '## %s' % rfcn.__version__ in (ROOT / 'CHANGELOG.md').read_text(encoding='utf-8')
