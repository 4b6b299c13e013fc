"""Configurations in files."""
import pytest

from lib.errors import ConfigError
from rfcn.config.config import load_config


@pytest.fixture
def write(tmp_path):
    """Writes a YAML file and returns its path."""
    def write_text(text, name='x.yaml'):
        path = tmp_path / name
        path.write_text(text, encoding='utf-8')
        return str(path)
    return write_text


def message_of(path=None, overrides=()):
    with pytest.raises(ConfigError) as error:
        load_config(path, overrides)
    return str(error.value)
