"""The errors that a user can cause and mend. Each message says what was expected, what was found, in which file, and what to do."""


class DatasetError(ValueError):
    """An image, an annotation or a list of images is not what its format promises."""


class ConfigError(ValueError):
    """A key or a value of the configuration is unknown, misspelt, of the wrong type or out of range."""


class CheckpointError(ValueError):
    """A parameter file is damaged or does not fit the network."""
