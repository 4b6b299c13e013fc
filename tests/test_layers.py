"""Who may import whom. The rules of docs/map.md and CONTRIBUTING.md; each is a line of a table below."""
import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# What a package may import of the project, besides itself. What is not listed is a script and may import all of these.
ALLOWED = {
    'lib': {'lib.errors'},
    'lib.bbox': {'lib.errors'},
    'lib.psroi': {'lib.errors'},
    'lib.nms': {'lib.errors', 'lib.bbox'},
    'lib.rpn': {'lib.errors', 'lib.bbox', 'lib.nms'},
    'lib.rcnn': {'lib.errors', 'lib.bbox', 'lib.nms'},
    'lib.utils': {'lib.errors', 'lib.bbox'},
    'lib.dataset': {'lib.errors', 'lib.bbox', 'lib.utils'},
    'lib.dataset.check': {'lib.errors', 'lib.bbox', 'lib.rpn', 'lib.utils', 'lib.dataset'},
    'rfcn.config': {'lib'},
    'rfcn.operator_py': {'lib'},
    'rfcn.symbols': {'lib', 'rfcn.operator_py', 'rfcn.config'},
    'rfcn.checkpoints': {'lib', 'rfcn.config', 'rfcn.symbols'},
    'rfcn.core': {'lib', 'rfcn.operator_py', 'rfcn.checkpoints', 'rfcn.precision', 'rfcn.launching'},
    'rfcn.launching': {'lib', 'rfcn.cli'},
    'rfcn.precision': {'lib', 'rfcn.checkpoints'},
}
LOADERS = ('rfcn.core.image_loaders', 'rfcn.core.target_loaders')  # alone in core may read the configuration
YAML_READER = 'lib.utils.safe_load'  # the only module of lib that knows YAML, a format of class names too
LINE_LENGTH = 120
OUTSIDE_LIB = {'mxnet', 'gluoncv', 'easydict', 'yaml', 'rfcn', 'experiments', 'tests'}


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


MODULES = {module_name(path): path for folder in ('lib', 'rfcn') for path in sorted((ROOT / folder).rglob('*.py'))}


def imported(name, path):
    """The modules that a file imports, at its top or inside its functions; of the project, down to the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, '%s imports relatively' % name
            submodules = {'%s.%s' % (node.module, alias.name) for alias in node.names} & set(MODULES)
            found.update(submodules or {node.module})
    return found


IMPORTS = {name: imported(name, path) for name, path in MODULES.items()}


def package(name):
    """The longest entry of ALLOWED that a module belongs to; None for a script."""
    return max((entry for entry in ALLOWED if name == entry or name.startswith(entry + '.')), key=len, default=None)


def within(name, packages):
    return any(name == entry or name.startswith(entry + '.') for entry in packages)


def test_a_module_imports_only_the_layers_below_it():
    too_high = {}
    for name in filter(package, MODULES):
        allowed = ALLOWED[package(name)] | {package(name)} | ({'rfcn.config'} if name in LOADERS else set())
        project = {other for other in IMPORTS[name] if within(other, ('lib', 'rfcn', 'experiments', 'tests'))}
        too_high[name] = {other for other in project if not within(other, allowed)}
    assert len(too_high) > 50 and {name: others for name, others in too_high.items() if others} == {}


def test_lib_is_arithmetic_without_mxnet_and_without_configuration():
    found = {name: {other for other in IMPORTS[name]
                    if within(other, OUTSIDE_LIB - ({'yaml'} if name == YAML_READER else set()))}
             for name in MODULES if within(name, ['lib'])}
    assert len(found) > 30 and {name: others for name, others in found.items() if others} == {}


def test_nothing_below_the_scripts_imports_experiments_or_tests():
    imports = {other for others in IMPORTS.values() for other in others}
    assert {other for other in imports if within(other, ('experiments', 'tests'))} == set()


def test_no_modules_import_each_other_in_a_circle():
    remaining = {name: (others & set(MODULES)) - {name} for name, others in IMPORTS.items()}
    while True:  # take away what imports nothing that remains, until that takes nothing away
        leaves = {name for name, others in remaining.items() if not others & set(remaining)}
        if not leaves:
            break
        remaining = {name: others for name, others in remaining.items() if name not in leaves}
    assert sorted(remaining) == []


def test_the_rules_see_an_import_inside_a_function(tmp_path):
    path = tmp_path / 'sample.py'
    path.write_text('import os.path\n\ndef f():\n    from lib import errors\n    from mxnet import nd\n')
    assert imported('sample', path) == {'os.path', 'lib.errors', 'mxnet'}


def too_long(paths):
    """file:line of each line that is longer than LINE_LENGTH."""
    return ['%s:%d' % (path, number) for path in paths
            for number, line in enumerate(path.read_text(encoding='utf-8').split('\n'), 1) if len(line) > LINE_LENGTH]


@pytest.mark.parametrize('pattern', ['lib/**/*', 'rfcn/**/*', 'experiments/**/*', 'data/*', 'tests/**/*'])
def test_no_line_is_longer_than_agreed(pattern):  # below data lie data sets
    paths = [path for suffix in ('.py', '.pyx') for path in sorted(ROOT.glob(pattern + suffix))]
    assert paths
    assert not too_long(paths), 'more than %d characters: %s' % (LINE_LENGTH, ', '.join(too_long(paths)))


def test_the_length_of_a_line_counts_characters(tmp_path):
    path = tmp_path / 'sample.py'
    path.write_text('%s\n%s\n' % ('\u00e9' * LINE_LENGTH, 'x' * (LINE_LENGTH + 1)), encoding='utf-8')
    assert too_long([path]) == ['%s:2' % path]


SCRIPTS = [path for folder in ('rfcn', 'experiments') for path in sorted((ROOT / folder).rglob('*.py'))
           if '__package__ in (None' in path.read_text(encoding='utf-8')]


@pytest.mark.parametrize('path', SCRIPTS, ids=lambda path: path.name)
def test_a_script_imports_rfcn_before_mxnet_which_needs_names_that_numpy_2_lacks(path):
    imports = [node for node in ast.walk(ast.parse(path.read_text(encoding='utf-8')))
               if isinstance(node, (ast.Import, ast.ImportFrom))]
    line_of = {}
    for node in sorted(imports, key=lambda node: -node.lineno):     # the first of several wins
        name = node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
        line_of[name.partition('.')[0]] = node.lineno
    assert line_of['rfcn'] < line_of.get('mxnet', 10 ** 6)


def test_opencv_opens_no_picture_by_its_name():
    """It ends the process at a name that is no UTF-8, and does not say that a disk is full: `lib.utils.image_file`."""
    for folder in ('lib', 'rfcn', 'experiments', 'examples', 'data'):
        for path in (ROOT / folder).rglob('*.py'):
            calls = {node.attr for node in ast.walk(ast.parse(path.read_text(encoding='utf-8')))
                     if isinstance(node, ast.Attribute) and getattr(node.value, 'id', None) == 'cv2'}
            assert not calls & {'imread', 'imwrite', 'imreadmulti', 'imwritemulti'}, path
