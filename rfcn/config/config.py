"""The configuration of a run: defaults, then a YAML file, then KEY=VALUE from the command line; checked and frozen.

    config = load_config('experiments/rfcn/cfgs/x.yaml', ['TRAIN.lr=0.001'])
    config.TRAIN.lr                                     # 0.001; to assign to it raises ConfigError
    other = with_overrides(config, {'TRAIN.lr': 0.01})  # a frozen copy with one value changed
    open('ran.yaml', 'w').write(dump(config))           # load_config('ran.yaml') == config

Keys, defaults and meanings stand in defaults.py. Lists become tuples, so that nothing inside a config can change.
"""
import copy
import difflib
import functools
import logging
import os

import yaml
from easydict import EasyDict

from lib.errors import ConfigError
from lib.utils import safe_yaml
from rfcn.config.defaults import KEYS, LEGACY, ORDER
from rfcn.config.kinds import class_names, show

logger = logging.getLogger(__name__)

# A config needs some 4 kB. The limit keeps a hostile file from costing more than a second.
MAX_BYTES = 65536
ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), '..', '..'))
PATH_KEYS = ('output_path', 'network.pretrained', 'dataset.root_path', 'dataset.dataset_path')
SECTIONS = {key[:end] for key in KEYS for end, letter in enumerate(key) if letter == '.'}


class Config(EasyDict):
    """An EasyDict that refuses every change. deepcopy and pickle work."""

    def __init__(self, values=()):
        for name, value in dict(values).items():
            EasyDict.__setattr__(self, name, Config(value) if isinstance(value, dict) else value)

    def _refuse(self, *args, **kwargs):
        raise ConfigError('the configuration is frozen: make a changed copy with with_overrides(config, {KEY: value})')

    __setattr__ = __setitem__ = __delattr__ = __delitem__ = __ior__ = _refuse
    update = pop = popitem = clear = setdefault = _refuse

    def __reduce__(self):
        return Config, (dict(self),)


def load_config(path=None, overrides=()):
    """Read a configuration.

    Relative paths in a file (and the defaults') are relative to the project's folder, so that a script does the same
    from any folder; those in overrides are relative to the current one.

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
    stated = {} if path is None else {key: _anchored(key, value)
                                      for key, value in _check(_read(path), os.fspath(path)).items()}
    for override in overrides:
        stated.update(_check(_parse_override(override), 'command line'))
    return _complete(stated, 'config' if path is None else os.fspath(path))


def _anchored(key, value):
    """A relative path of a file or of the defaults, made absolute."""
    return os.path.normpath(os.path.join(ROOT, value)) if key in PATH_KEYS and value else value


def with_overrides(config, changes):
    """A frozen copy of the config with other values, {'TRAIN.lr': 0.01}; derived values are derived again."""
    stated = _flatten(config)
    del stated['network.NUM_ANCHORS']
    if config.dataset.CLASSES or 'dataset.CLASSES' in changes:
        del stated['dataset.NUM_CLASSES']
    for key, value in changes.items():
        stated.update(_check(_nest({key: value}), 'with_overrides'))
    return _complete(stated, 'with_overrides')


def thaw(config):
    """Plain dicts and lists with the config's values, free to be changed."""
    if isinstance(config, dict):
        return {name: thaw(value) for name, value in config.items()}
    return [thaw(value) for value in config] if isinstance(config, tuple) else config


def dump(config):
    """YAML text that loads back to the same config."""
    return yaml.safe_dump(thaw(config), default_flow_style=None, sort_keys=False, allow_unicode=True, width=120)


def _parse(text, source):
    try:
        return safe_yaml.parse(text)
    except ValueError as error:
        raise ConfigError('%s: %s' % (source, error)) from error


def _read_text(path):
    try:
        with open(path, 'rb') as file:
            data = file.read(MAX_BYTES + 1)
        text = data.decode('utf-8-sig')
    except FileNotFoundError:
        raise FileNotFoundError('%s: no such file (seen from %s)' % (path, os.getcwd())) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError('%s: cannot be read: %s' % (path, error)) from error
    if len(data) > MAX_BYTES:
        raise ConfigError('%s: larger than %d bytes, this is no configuration' % (path, MAX_BYTES))
    return text


def _read(path):
    values = _parse(_read_text(path), path)
    if values is not None and not isinstance(values, dict):
        raise ConfigError('%s: must be a mapping of keys to values, not %s' % (path, show(values)))
    return values or {}


def _parse_override(override):
    key, equals, value = override.partition('=')
    if not equals or not key.strip():
        raise ConfigError('command line: %s must be KEY=VALUE, such as TRAIN.lr=0.001' % show(override))
    return _nest({key.strip(): _parse(value, 'command line: ' + key.strip()) if value.strip() else ''})


def _nest(flat):
    """{'TRAIN.lr': 1} to {'TRAIN': {'lr': 1}}."""
    nested = {}
    for key, value in flat.items():
        *sections, name = key.split('.')
        functools.reduce(lambda level, section: level.setdefault(section, {}), sections, nested)[name] = value
    return nested


def _flatten(nested, prefix=''):
    """{'TRAIN': {'lr': 1}} to {'TRAIN.lr': 1}."""
    flat = {}
    for name, value in nested.items():
        key = prefix + str(name)
        flat.update(_flatten(value, key + '.') if key in SECTIONS else {key: value})
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
    for key in ('dataset.CLASSES', 'network.PRETRAINED_CLASSES'):
        values[key] = _read_classes(key, values[key], source)
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


def _read_classes(key, names, source):
    """Class names themselves, or those in the file of that name: from here, or beside the configuration."""
    if not names or not isinstance(names, str):
        return names or ()
    candidates = (names, os.path.join(os.path.dirname(source), names))
    path = next((path for path in candidates if os.path.isfile(path)), None)
    if path is None:
        raise ConfigError('%s: %s must be a list [car, dog] or a file of names, not %s'
                          % (source, key, show(names)))
    lines = (line.strip() for line in _read_text(path).splitlines())
    try:
        return class_names([line for line in lines if line])
    except ValueError as error:
        raise ConfigError('%s: the class names %s' % (path, error)) from None
