"""Errors that a user can mend. The command line prints them as one line and exits with code 2."""

import re

_BREAKS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class InputError(ValueError):
    """A mistake in the input: one line that says what is wrong, where, and what to do.

    Line breaks and control characters, which come with names from damaged files, become blanks.
    """

    def __init__(self, message: str):
        super().__init__(_BREAKS.sub(" ", message))


class Diverged(InputError):
    """Training met a non-finite loss; the last good checkpoint is kept."""
