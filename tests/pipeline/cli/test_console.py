"""What is said on the way goes to standard error, as it is."""

from __future__ import annotations

import pytest

from pipeline.cli.console import print_error, say


def test_lines_go_to_standard_error_without_markup(capsys: pytest.CaptureFixture[str]) -> None:
    say("a line with [brackets] of HLA-A:100:1 " + "x" * 200)
    print_error("sptx: wrong [here]")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == ["a line with [brackets] of HLA-A:100:1 " + "x" * 200, "sptx: wrong [here]"]
