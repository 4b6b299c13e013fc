"""Notes, beside the results of a step of training, of what made them: results of other settings are not taken up."""
import hashlib
from pathlib import Path

import yaml

from rfcn.config.config import thaw

# Keys that do not change what a step learns.
_ASIDE = {'dataset': ('root_path', 'dataset_path', 'test_image_set', 'val_image_set'),
          'TRAIN': ('ALTERNATE', 'WORKERS', 'CHECKPOINT_PERIOD', 'KEEP_CHECKPOINTS', 'EVAL_PERIOD', 'RESUME',
                    'model_prefix')}
_TRAINING = ('symbol', 'CLASS_AGNOSTIC', 'SCALES', 'seed', 'network', 'dataset', 'TRAIN')


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
    made_from = {Path(path).stem: hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in sources}
    return yaml.safe_dump(dict(settings, made_from=made_from), default_flow_style=None, sort_keys=False, width=120)


def difference(path, text):
    """The lines of a new note that the one at `path` does not have; empty where there is none yet, or the same."""
    if not Path(path).exists():
        return []
    before = Path(path).read_text()
    lines = [line.strip() for line in text.splitlines() if line not in before.splitlines()]
    return lines or (['fewer settings'] if text != before else [])
