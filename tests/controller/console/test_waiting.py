"""What is shown while a command works: a terminal sees it, a pipe never does."""

import io
import sys

import pytest

from controller.console.waiting import working


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_sees_what_is_being_done_and_it_is_gone_at_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with working("looking") as progress:
        progress("looking at [red] things")
    assert "looking at [red] things" in terminal.getvalue()
    assert terminal.getvalue().endswith("\x1b[2K"), "the line is wiped"
    assert capsys.readouterr().out == ""


def test_a_pipe_sees_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with working("looking") as progress:
        progress("looking further")
    assert capsys.readouterr() == ("", "")
