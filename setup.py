"""Compiles each .pyx under lib. What it is, and what it needs, stands in pyproject.toml."""
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

# -ffp-contract=off: no fused multiply-add, so that the compiled IoU has the same bits as NumPy's.
# optional: without a C compiler the installation goes on, and NumPy does the work.
extensions = [Extension('.'.join(path.with_suffix('').parts), [str(path)],
                        extra_compile_args=['-O3', '-ffp-contract=off'], optional=True)
              for path in sorted(Path('lib').glob('**/*.pyx'))]

setup(ext_modules=cythonize(extensions, build_dir='build'))
