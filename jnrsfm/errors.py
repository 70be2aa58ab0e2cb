"""Errors that a user can mend. The command line prints them as one line and exits with code 2."""


class InputError(ValueError):
    """A mistake in the input: one line that says what is wrong, where, and what to do."""


class Diverged(InputError):
    """Training met a non-finite loss; the last good checkpoint is kept."""
