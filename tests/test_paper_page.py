"""docs/paper.md names only what there is: files, functions, tests, commands. Its links: see test_pages.py."""
import ast
import re
from pathlib import Path

import pytest

from rfcn.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / 'docs' / 'paper.md'
SUFFIXES = r'(?:py|pyx|sh|yaml|md|jpg|png)'
MXNETS_OWN = {'contrib.PSROIPooling', 'contrib.MultiProposal'}


def named(text):
    """All that stands in single backticks."""
    return re.findall(r'`([^`\n]+)`', text)


def missing(name):
    """What of a name does not exist, as text; None if all does."""
    command = re.match(r'rfcn ([\w-]+)', name)
    if command:
        return None if command.group(1) in COMMANDS else 'the command ' + name
    match = re.match(r'(?:bash |python )?([\w./]+\.%s)(?:(::|: )([\w.]+))?$' % SUFFIXES, name)
    if not match:
        return None if name in MXNETS_OWN or name.startswith('make ') else 'nothing of this kind: ' + name
    path, _, function = match.groups()
    if not (ROOT / path).is_file():
        return 'the file ' + path
    return None if function is None or function in definitions(ROOT / path) else 'the name ' + name


def definitions(path):
    """Names of the functions and classes of a file; methods as Class.method, those of base classes too."""
    found, tree = set(), ast.parse(path.read_text(encoding='utf-8'))
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found.update('%s.%s' % (node.name, part.name) for part in node.body if isinstance(part, ast.FunctionDef))
    return found


def test_each_file_function_test_and_command_of_the_page_exists():
    names = named(PAGE.read_text(encoding='utf-8'))
    assert len(names) > 80
    assert [text for text in map(missing, names) if text] == []


@pytest.mark.parametrize('name, said', [
    ('lib/gone.py', 'the file lib/gone.py'), ('lib/nms/nms.py: gone', 'the name lib/nms/nms.py: gone'),
    ('tests/test_paper_page.py::test_gone', 'the name tests/test_paper_page.py::test_gone'),
    ('rfcn gone --run', 'the command rfcn gone --run'), ('bash experiments/gone.sh', 'the file experiments/gone.sh'),
    ('contrib.Gone', 'nothing of this kind: contrib.Gone'), ('rfcn/symbols/rfcn.py: RFCN.get_symbol', None)])
def test_what_does_not_exist_is_found(name, said):
    assert missing(name) == said
