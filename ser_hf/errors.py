"""What a person can get wrong. Every message says what came, what was expected and what to do."""


class SerError(Exception):
    """Base of all errors that are a person's to mend; shown without a traceback."""


class AudioError(SerError):
    """A sound that cannot be used: unreadable, empty, silent, too short, too long, not finite."""


class DatasetError(SerError):
    """A data set that is missing, incomplete or not in the expected layout."""


class ModelError(SerError):
    """A checkpoint or a configuration that cannot be loaded or does not fit."""
