"""The one exception that means that the input is wrong, not the program.

Every mistake that a user can make raises `InputError` with a sentence that says what is wrong, where, and what to do.
The command line prints that sentence and exits with code 2; any other exception is a bug and shows its traceback.
"""

from __future__ import annotations


class InputError(ValueError):
    """Bad input or settings; the message is one sentence for the user who gave them."""
