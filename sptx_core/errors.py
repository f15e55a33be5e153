"""The one exception that means "the input is wrong, not the program".

Everything a person can cause raises `InputError` with one sentence that says what is wrong, where, and what to
do. The command line prints that sentence and leaves with exit code 2; any other exception is a bug and shows
its traceback.
"""

from __future__ import annotations


class InputError(ValueError):
    """Bad input or settings; the message is one sentence meant for the person who gave them."""
