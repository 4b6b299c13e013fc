"""In the project's folder, `lib` is the one beside `rfcn`, whatever a folder of that name in the current one holds.

An installed copy has it inside, as `rfcn.lib`, and needs none of this.
"""
import importlib.util
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def use_own_lib(folder):
    """Load the package `lib` from a folder, under this name.

    Raises:
        ImportError: another package `lib` is loaded already.
    """
    loaded = sys.modules.get('lib')
    if loaded is None:
        place = importlib.util.spec_from_file_location('lib', str(folder / '__init__.py'),
                                                       submodule_search_locations=[str(folder)])
        sys.modules['lib'] = importlib.util.module_from_spec(place)
        place.loader.exec_module(sys.modules['lib'])
    elif Path(list(loaded.__path__)[0]).resolve() != folder:
        raise ImportError('rfcn in the folder %s needs the package lib beside it, but %s is loaded under this name. '
                          'Install a copy, which brings its own: pip install %s'
                          % (folder.parent, list(loaded.__path__)[0], folder.parent))


if not (HERE / 'lib').is_dir():
    use_own_lib(HERE.parent / 'lib')
