"""Notes, beside the results of a step of training, of what made them: results of other settings are not used again."""
import hashlib
import os
from pathlib import Path

import yaml

from lib.utils import safe_yaml
from lib.utils.whole_file import save_text
from rfcn.config.config import thaw

# Keys that do not change what a step learns. What the data are is noted by their sum, not by their folder.
_ASIDE = {'dataset': ('root_path', 'dataset_path', 'test_image_set', 'val_image_set'),
          'TRAIN': ('ALTERNATE', 'WORKERS', 'CHECKPOINT_PERIOD', 'KEEP_CHECKPOINTS', 'EVAL_PERIOD', 'RESUME',
                    'OVERWRITE', 'model_prefix')}
_TRAINING = ('symbol', 'CLASS_AGNOSTIC', 'SCALES', 'RELEASE_RULES', 'seed', 'network', 'dataset', 'TRAIN')
_FILES = 'files'


def training_settings(cfg):
    """What of a configuration decides the result of a training, as plain values."""
    settings = {name: thaw(cfg[name]) for name in _TRAINING}
    for section, names in _ASIDE.items():
        for name in names:
            del settings[section][name]
    return settings


def record(settings, sources):
    """The text of a note.

    Args:
        settings: plain values.
        sources: paths of the notes of what the step starts from.
    """
    made_from = {Path(path).stem: sum_of_file(path) for path in sources}
    return _yaml(dict(settings, made_from=made_from))


def difference(path, text):
    """The lines of a new note that the one at `path` does not have; empty where there is none yet, or the same."""
    if not Path(path).exists():
        return []
    before = Path(path).read_text()
    lines = [line.strip() for line in text.splitlines() if line not in before.splitlines()]
    return lines or (['fewer settings'] if text != before else [])


def save_with_files(path, text, files):
    """Write a note that also holds the sums of the files that the step has made, beside it or below."""
    folder = os.path.dirname(str(path))
    save_text(path, text + _yaml({_FILES: {os.path.relpath(str(file), folder): sum_of_file(file) for file in files}}))


def stands_for(path, text):
    """Whether there is a note of this text, and the files that it speaks of are those that were made then."""
    before = Path(path).read_text() if Path(path).exists() else ''
    if not before.startswith(text):
        return False
    try:
        files = safe_yaml.parse(before[len(text):])[_FILES]
        return bool(files) and all(sum_of_file(Path(path).parent / name) == value for name, value in files.items())
    except (ValueError, KeyError, TypeError, AttributeError, OSError):
        return False


def sum_of_file(path):
    """SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with open(str(path), 'rb') as file:
        for part in iter(lambda: file.read(2 ** 20), b''):
            digest.update(part)
    return digest.hexdigest()


def _yaml(values):
    return yaml.safe_dump(values, default_flow_style=None, sort_keys=False, width=120)
