"""The two exceptions that are no bugs: the input is wrong, or a run ended early through no fault of the program.

Every mistake that a user can make raises `InputError` with a sentence that says what is wrong, where, and what to do.
The command line prints that sentence and exits with code 2. A run that cannot go on, though it began well, raises
`UnfinishedError` with such a sentence; the exit code is 3. Any other exception is a bug and shows its traceback.
"""

from __future__ import annotations


class InputError(ValueError):
    """Bad input or settings; the message is one sentence for the user who gave them."""


class UnfinishedError(RuntimeError):
    """A run ended before it was complete; the message is one sentence that says why, and how it goes on."""
