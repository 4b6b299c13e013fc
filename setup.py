"""How the project is built; all that can be said without code stands in pyproject.toml.

In the project's folder (`make build`, an editable installation) `lib` is a package beside `rfcn`, compiled where it
lies. An installed copy is one package, `rfcn`, with `lib` inside as `rfcn.lib`: so nothing else lands at the top of the
user's site-packages, where a folder `lib` may be somebody else's. For this the sources are copied to BUILD, and `lib`
becomes `rfcn.lib` in their imports.
"""
import re
import shutil
import sys
from pathlib import Path

from setuptools import Extension, find_packages, setup

ROOT = Path(__file__).resolve().parent
BUILD = Path('build', 'installed')     # of an installed copy; emptied before, so that nothing stale gets in
ONE_PACKAGE = BUILD / 'sources'
# An editable installation puts this folder on Python's path, with links to these two: without it, all folders of the
# project could be imported from everywhere.
LINKED, LINKS = Path('.editable'), ('rfcn', 'lib')
IMPORT = re.compile(r'^(\s*(?:from|import)) lib\b', re.MULTILINE)
EXTENSIONS = {'bbox.bbox': 'bbox/bbox.pyx', 'nms.cpu_nms': 'nms/cpu_nms.pyx',
              'psroi.cpu_psroi': 'psroi/cpu_psroi.pyx'}


def copy_as_one_package():
    """Copy `rfcn`, and `lib` into it. Returns the folder."""
    shutil.rmtree(str(ROOT / BUILD), ignore_errors=True)
    for source, target in (('rfcn', 'rfcn'), ('lib', 'rfcn/lib')):
        for path in sorted((ROOT / source).rglob('*.p[yx]*')):
            if path.suffix in ('.py', '.pyx', '.pxd'):
                copy = ROOT / ONE_PACKAGE / target / path.relative_to(ROOT / source)
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_text(IMPORT.sub(r'\1 rfcn.lib', path.read_text(encoding='utf-8')), encoding='utf-8')
    return ONE_PACKAGE


def link():
    """Make the folder of an editable installation. Returns it."""
    (ROOT / LINKED).mkdir(exist_ok=True)
    for name in LINKS:
        if not (ROOT / LINKED / name).exists():
            (ROOT / LINKED / name).symlink_to(Path('..', name), target_is_directory=True)
    return LINKED


def extensions(package, folder):
    """The compiled modules.

    -ffp-contract=off: no fused multiply-add, so that the compiled IoU has the same bits as NumPy's.
    optional: without a C compiler the installation goes on, and NumPy does the work.
    """
    return [Extension('%s.%s' % (package, name), [str(folder / source)], depends=[str(folder / 'bbox/overlaps.pxd')],
                      extra_compile_args=['-O3', '-ffp-contract=off'], optional=True)
            for name, source in EXTENSIONS.items()]


if {'bdist_wheel', 'install', 'build'} & set(sys.argv):
    folder = copy_as_one_package()
    compiled = extensions('rfcn.lib', folder / 'rfcn' / 'lib')
    options = {'build': {'build_base': str(BUILD / 'build')}}
else:
    folder = link()
    compiled = extensions('lib', Path('lib'))
    options = {}

setup(package_dir={'': str(folder)}, packages=find_packages(str(folder)), ext_modules=compiled, options=options)
