"""What is public in lib, data and the parts of rfcn that users call states its types."""
import ast

import pytest

from tests.conftest import ROOT

# Of rfcn what users call. Not data/**: data sets lie there.
PATTERNS = ('lib/**/*.py', 'data/*.py', 'rfcn/__init__.py', 'rfcn/detector.py', 'rfcn/data_sets.py', 'rfcn/evaluate.py',
            'rfcn/inference.py', 'rfcn/config/config.py', 'rfcn/core/detect.py', 'rfcn/checkpoints/*.py')
FILES = sorted(path for pattern in PATTERNS for path in ROOT.glob(pattern) if path.stat().st_size)


def public_functions(body):
    """The functions of a module or class that have no leading underscore, and constructors."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith('_'):
            yield from public_functions(node.body)
        elif isinstance(node, ast.FunctionDef) and (node.name == '__init__' or not node.name.startswith('_')):
            yield node


def without_types(text):
    """'line: name' of each argument and of each function whose type is not stated."""
    for function in public_functions(ast.parse(text).body):
        arguments = function.args.args + function.args.kwonlyargs + [function.args.vararg, function.args.kwarg]
        for argument in filter(None, arguments):
            if argument.annotation is None and argument.arg not in ('self', 'cls'):
                yield '%d: %s of %s' % (argument.lineno, argument.arg, function.name)
        if function.returns is None and function.name != '__init__':
            yield '%d: result of %s' % (function.lineno, function.name)


def below(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize('path', FILES, ids=below)
def test_public_functions_state_the_types_of_their_arguments_and_of_their_result(path):
    assert list(without_types(path.read_text(encoding='utf-8'))) == []


def test_an_argument_and_a_result_without_a_type_are_found():
    text = 'def f(a, b: int): pass\nclass C:\n    def __init__(self, c): pass\n    def _g(self, d): pass\n'
    assert list(without_types(text)) == ['1: a of f', '1: result of f', '3: c of __init__']
