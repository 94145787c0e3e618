"""What a person can get wrong. Every message says what came, what was expected and what to do."""

import sys
from collections.abc import Callable


class SerError(Exception):
    """Base of all errors that are a person's to mend; shown without a traceback."""


class AudioError(SerError):
    """A sound that cannot be used: unreadable, empty, silent, too short, too long, not finite."""


class DatasetError(SerError):
    """A data set that is missing, incomplete or not in the expected layout."""


class ModelError(SerError):
    """A checkpoint or a configuration that cannot be loaded or does not fit."""


class HubError(SerError):
    """What the Hub asks for and does not get: a token, the right to write, a valid name, a network."""


def exit_code(job: Callable[[], object]) -> int:
    """Runs a program: 0 when it is done, 1 and the message without a traceback where a person's mistake stopped it."""
    try:
        job()
    except SerError as error:
        print(error, file=sys.stderr)
        return 1
    return 0
