"""The configuration of a run: defaults, then a YAML file, then KEY=VALUE from the command line; checked and frozen.

    config = load_config('experiments/rfcn/cfgs/x.yaml', ['TRAIN.lr=0.001'])
    config.TRAIN.lr                                     # 0.001; to assign to it raises ConfigError
    other = with_overrides(config, {'TRAIN.lr': 0.01})  # a frozen copy with one value changed
    Path('ran.yaml').write_text(dump(config), encoding='utf-8')  # load_config('ran.yaml') == config

A file may say `BASE: other.yaml`, a path beside itself: it then holds only what differs from that file, which may have
a base of its own. Keys, defaults and meanings stand in defaults.py. Lists become tuples, so that nothing inside a
config can change.
"""
from __future__ import annotations

import copy
import difflib
import functools
import glob
import logging
import os
import re
from typing import Any, Iterable, Mapping, Union

import yaml
from easydict import EasyDict

from lib.errors import ConfigError, reason_of
from lib.utils.console import shown
from lib.utils.limits import MAX_YAML_BYTES, is_there, open_input
from lib.utils.safe_load import parse_yaml
from rfcn.config.defaults import KEYS, LEGACY, ORDER
from rfcn.config.kinds import class_names, show

logger = logging.getLogger(__name__)

PathLike = Union[str, os.PathLike]

BASE = 'BASE'
_ABOVE = os.path.realpath(os.path.join(os.path.realpath(__file__), '..', '..', '..'))
PROJECT = _ABOVE if os.path.isfile(os.path.join(_ABOVE, 'pyproject.toml')) else None    # None in an installed copy
PATH_KEYS = ('output_path', 'network.pretrained', 'dataset.root_path', 'dataset.dataset_path')
CLASS_KEYS = ('dataset.CLASSES', 'network.PRETRAINED_CLASSES')
# A derived number, and the keys that it follows from: where those are stated anew, an older statement of it gives way.
DERIVED = {'network.NUM_ANCHORS': ('network.ANCHOR_SCALES', 'network.ANCHOR_RATIOS'),
           'dataset.NUM_CLASSES': ('dataset.CLASSES',)}
SECTIONS = {key[:end] for key in KEYS for end, letter in enumerate(key) if letter == '.'}


class Config(EasyDict):
    """An EasyDict that refuses every change. deepcopy and pickle work."""

    def __init__(self, values: Mapping | Iterable = ()):
        for name, value in dict(values).items():
            EasyDict.__setattr__(self, name, Config(value) if isinstance(value, dict) else value)

    def _refuse(self, *args, **kwargs):
        raise ConfigError('the configuration is frozen: make a changed copy with with_overrides(config, {KEY: value})')

    __setattr__ = __setitem__ = __delattr__ = __delitem__ = __ior__ = _refuse
    update = pop = popitem = clear = setdefault = _refuse

    def __reduce__(self):
        return Config, (dict(self),)


def load_config(path: PathLike | None = None, overrides: Iterable[str] = ()) -> Config:
    """Read a configuration.

    Relative paths in a file are relative to that file, unless they name something in the project's folder; those in a
    file of the project, and the defaults, are relative to the project's folder. So a script does the same from any
    folder. Relative paths in overrides are relative to the current folder, as are the defaults of an installed copy.
    A ~ is the home folder.

    Args:
        path: a YAML file; None starts from the defaults.
        overrides: texts such as 'TRAIN.lr=0.001'; the value is read as YAML.
    Returns:
        a frozen Config with every key of defaults.py.
    Raises:
        FileNotFoundError: there is no such file.
        ConfigError: bad YAML; a key that does not exist; a value of the wrong type or out of range; values that
            contradict each other.
    """
    if isinstance(overrides, str):
        raise ConfigError('overrides: expected a list of KEY=VALUE, found the text %s: write [%r]'
                          % (show(overrides), overrides))
    stated = {} if path is None else stated_in(os.fspath(path))
    for override in overrides:
        _put_over(stated, _read_class_files(_check(_parse_override(override), 'command line'), 'command line', '.'))
    return _complete(stated, 'config' if path is None else os.fspath(path))


def base_files(path: str) -> list[str]:
    """The file itself, its base, the base of that, and so on: list of paths.

    Raises:
        FileNotFoundError, ConfigError: as `load_config`; a file is its own base, directly or through others.
    """
    # Departure: each file of the release is complete.
    chain = []
    while path is not None:
        if any(os.path.samefile(path, earlier) for earlier in chain if os.path.exists(path)):
            raise ConfigError('%s: %s goes in a circle: %s' % (chain[-1], BASE, ' -> '.join(chain + [path])))
        base = _read(path, chain[-1] if chain else None).get(BASE)
        chain.append(path)
        if base is not None and (not isinstance(base, str) or not base.strip()):
            raise ConfigError('%s: %s must be the path of a YAML file, not %s' % (path, BASE, show(base)))
        path = base and os.path.normpath(os.path.join(os.path.dirname(path), os.path.expanduser(base.strip())))
    return chain


def stated_in(path: str) -> dict[str, Any]:
    """What a file and its bases state: dotted key -> value. Raises as `load_config`."""
    stated = {}
    for file in reversed(base_files(path)):
        values = {name: value for name, value in _read(file).items() if name != BASE}
        checked = {key: _anchored(key, value, file) for key, value in _check(values, file).items()}
        _put_over(stated, _read_class_files(checked, file, os.path.dirname(file)))
    return stated


def _put_over(stated, newer):
    """Put what is stated later over what was stated before. A number that it derives anew is forgotten."""
    for derived, sources in DERIVED.items():
        if any(newer.get(source) for source in sources):
            stated.pop(derived, None)
    stated.update(newer)


def _anchored(key, value, file=None):
    """A path of a file, or of the defaults where there is none, made absolute. Other values stay as they are."""
    if key not in PATH_KEYS or not value or os.path.isabs(value):
        return value
    return os.path.normpath(os.path.join(_folder_of(key, value, file), value))


def _folder_of(key, value, file):
    """What a relative path of a file is relative to; see `load_config`. Outputs lie beside the file in any case."""
    own = os.getcwd() if file is None else os.path.dirname(os.path.realpath(file))
    if PROJECT is None:
        return own
    if file is None or os.path.commonpath([PROJECT, own]) == PROJECT:
        return PROJECT
    there = key != 'output_path' and glob.glob(os.path.join(PROJECT, glob.escape(value)) + '*')     # * for prefixes
    return PROJECT if there and not glob.glob(os.path.join(own, glob.escape(value)) + '*') else own


def with_overrides(config: Config, changes: Mapping[str, Any]) -> Config:
    """A frozen copy of the config with other values, {'TRAIN.lr': 0.01}; derived values are derived again."""
    stated = flatten(config)
    del stated['network.NUM_ANCHORS']
    if config.dataset.CLASSES or 'dataset.CLASSES' in changes:
        del stated['dataset.NUM_CLASSES']
    for key, value in changes.items():
        stated.update(_read_class_files(_check(_nest({key: value}), 'with_overrides'), 'with_overrides', '.'))
    return _complete(stated, 'with_overrides')


def rois_per_image(config: Config) -> int:
    """RoIs of each image that the head is trained on: those of a device, TRAIN.BATCH_ROIS, by its images; -1 is all.

    Raises:
        ConfigError: the images of a device cannot have equally many.
    """
    rois, images = config.TRAIN.BATCH_ROIS, config.TRAIN.BATCH_IMAGES
    if rois > 0 and rois % images:
        raise ConfigError('TRAIN.BATCH_ROIS is %d, which cannot be shared out equally to TRAIN.BATCH_IMAGES, %d '
                          '(by alternation: TRAIN.ALTERNATE.RCNN_BATCH_IMAGES)' % (rois, images))
    return rois // images if rois > 0 else rois


def thaw(config: Any) -> Any:
    """Plain dicts and lists with the config's values, free to be changed."""
    if isinstance(config, dict):
        return {name: thaw(value) for name, value in config.items()}
    return [thaw(value) for value in config] if isinstance(config, tuple) else config


def dump(config: Config) -> str:
    """YAML text that loads back to the same config, wherever it is written: its paths are absolute."""
    values = thaw(config)
    for key in PATH_KEYS:
        *sections, name = key.split('.')
        section = functools.reduce(dict.__getitem__, sections, values)
        section[name] = section[name] and os.path.abspath(section[name])
    return yaml.safe_dump(values, default_flow_style=None, sort_keys=False, allow_unicode=True, width=120)


def _parse(text, source):
    try:
        return parse_yaml(text)
    except ValueError as error:
        raise ConfigError('%s: %s' % (source, error)) from error


def _read_text(path, asked_by=None):
    """The text of a file; `asked_by` is the file that names it as its base."""
    try:
        with open_input(path) as file:
            data = file.read(MAX_YAML_BYTES + 1)
        text = data.decode('utf-8-sig')
    except FileNotFoundError:
        seen_from = 'the %s of %s' % (BASE, asked_by) if asked_by else 'seen from %s' % os.getcwd()
        raise FileNotFoundError('%s: no such file (%s)' % (path, seen_from)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError('%s: expected a YAML file, cannot be read: %s' % (path, reason_of(error))) from error
    if len(data) > MAX_YAML_BYTES:
        raise ConfigError('%s: larger than %d bytes, this is no configuration' % (path, MAX_YAML_BYTES))
    return text


def _read(path, asked_by=None):
    values = _parse(_read_text(path, asked_by), path)
    if values is not None and not isinstance(values, dict):
        raise ConfigError('%s: expected keys with values, such as TRAIN: {lr: 0.001}, found %s' % (path, show(values)))
    return values or {}


def _parse_override(override):
    key, equals, value = override.partition('=')
    if not equals or not key.strip():
        also = '. It is a file: each needs its option, as in --image a.jpg --image b.jpg' \
            if os.path.isfile(override) else ''
        raise ConfigError('command line: %s must be KEY=VALUE, such as TRAIN.lr=0.001%s' % (show(override), also))
    try:
        value.encode('utf-8')
    except UnicodeEncodeError:      # before YAML, which would speak of a character at a position
        raise ConfigError('command line: %s: %s is no UTF-8 (or the locale, LC_ALL, knows ASCII alone). Rename it, or '
                          'set LC_ALL=C.UTF-8' % (key.strip(), shown(value))) from None
    return _nest({key.strip(): _parse(value, 'command line: ' + key.strip()) if value.strip() else ''})


def _nest(flat):
    """{'TRAIN.lr': 1} to {'TRAIN': {'lr': 1}}."""
    nested = {}
    for key, value in flat.items():
        *sections, name = key.split('.')
        functools.reduce(lambda level, section: level.setdefault(section, {}), sections, nested)[name] = value
    return nested


def flatten(nested: Mapping, prefix: str = '') -> dict[str, Any]:
    """{'TRAIN': {'lr': 1}} to {'TRAIN.lr': 1}."""
    flat = {}
    for name, value in nested.items():
        key = prefix + str(name)
        flat.update(flatten(value, key + '.') if key in SECTIONS else {key: value})
    return flat


def _check(nested, source, prefix=''):
    """The values that a source states, by dotted key, each in its final form."""
    stated = {}
    for name, value in nested.items():
        key = prefix + str(name)
        if key in SECTIONS:
            if value is not None and not isinstance(value, dict):
                raise ConfigError('%s: %s is a section and must hold keys, not %s' % (source, key, show(value)))
            stated.update(_check(value or {}, source, key + '.'))
        elif key == BASE:
            raise ConfigError('%s: %s is for YAML files only' % (source, BASE))
        elif key in LEGACY:
            _note_legacy(key)
        elif key in KEYS:
            stated[key] = _check_value(key, value, source)
        else:
            raise ConfigError('%s: unknown key %s%s' % (source, key[:200], _suggestion(key[:200])))
    return stated


def _check_value(key, value, source):
    default, kind = KEYS[key]
    if value is None and default in ('', ()):  # 'pretrained:' with nothing after it
        return default
    try:
        return kind(value)
    except ValueError as error:
        raise ConfigError('%s: %s %s' % (source, key, error)) from None


def _suggestion(key):
    name = key.rpartition('.')[2].lower()
    known = [known for known in KEYS if known.rpartition('.')[2].lower() == name]
    if not known:
        spellings = {known.lower(): known for known in (*KEYS, *SECTIONS)}
        known = [spellings[match] for match in difflib.get_close_matches(key.lower(), spellings, n=1)]
    return '; did you mean %s?' % ' or '.join(known) if known else ''


@functools.lru_cache(maxsize=None)
def _note_legacy(key):
    logger.warning('%s is not used: %s', key, LEGACY[key])


def _complete(stated, source):
    """Defaults for what is not stated, derived values, checks that need more than one key; frozen."""
    values = {key: copy.deepcopy(stated.get(key, _anchored(key, default))) for key, (default, _) in KEYS.items()}
    _derive(values, stated, source, 'network.NUM_ANCHORS',
            len(values['network.ANCHOR_SCALES']) * len(values['network.ANCHOR_RATIOS']), 'scales times ratios')
    if values['dataset.CLASSES']:
        _derive(values, stated, source, 'dataset.NUM_CLASSES',
                len(values['dataset.CLASSES']) + 1, 'CLASSES and the background')
    for low, high in ORDER:
        if values[low] > values[high]:
            raise ConfigError('%s: %s is %g and must not exceed %s, which is %g'
                              % (source, low, values[low], high, values[high]))
    return Config(_nest(values))


def _derive(values, stated, source, key, derived, rule):
    if stated.get(key, derived) != derived:
        raise ConfigError('%s: %s is stated as %d, but %s make %d: remove it'
                          % (source, key, stated[key], rule, derived))
    values[key] = derived


def _read_class_files(stated, source, folder):
    """The same with class names in place of files of them, which are looked for here and in `folder`."""
    return {key: _read_classes(key, value, source, folder) if key in CLASS_KEYS else value
            for key, value in stated.items()}


def _read_classes(key, names, source, folder):
    if not isinstance(names, str):
        return names
    if not names:
        return ()
    names = os.path.expanduser(names)
    path = next((path for path in (names, os.path.join(folder, names)) if is_there(path)), None)
    if path is None:
        raise ConfigError('%s: %s must be a list [car, dog] or a file of names, not %s'
                          % (source, key, show(names)))
    lines = (line.strip() for line in re.split('\r\n?|\n', _read_text(path)))     # not at form feeds and the like
    try:
        return class_names([line for line in lines if line])
    except ValueError as error:
        raise ConfigError('%s: the class names %s' % (path, error)) from None
