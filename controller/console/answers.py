"""What can be read of an application's answers, and what streaming hides of them."""

from functools import partial

from controller.console.findings import Section
from controller.settings import ApplicationSettings
from controller.workspace.checks import Answers, Checks
from policies.words import percent

FOUND = 0.9
"""Least share of the answers that should have what is looked for: some are faulty for good."""
HIDDEN = (
    "the table has one row for a whole stream: its latency is that of the last token, an error "
    "after the first one has status 200, and its tokens are told only if the model sends them with "
    "the end; golden queries do not stream"
)


def examine(
    checks: Checks, settings: ApplicationSettings, table: str, says: Section, remedy: str
) -> None:
    """Say what one day's answers have at the paths of the configuration, and how many streamed."""
    look = partial(checks.answers, table, settings.counted.paths)
    found = says.look("answers", look, remedy, warns=True)
    if found is None:
        return
    if not found.answered:
        says.skip("answers", "no request of a user was answered in the last day")
        return
    _read(found, settings, says)
    if found.streamed:
        share = percent(found.streamed / found.answered)
        remedy = (
            "let the model end its streams with their usage, name response.finish, and count what "
            "else matters by evidence.queries"
        )
        says.warn("streams", f"{share} of the last day's answers were streamed: {HIDDEN}", remedy)
    else:
        says.ok("streams", "no answer of the last day was streamed")


def _read(found: Answers, settings: ApplicationSettings, says: Section) -> None:
    response = settings.response
    wanted = [
        ("text", found.texts, "answer", response.answer),
        ("sources", found.sourced, "sources", response.sources),
    ]
    if response.tokens is not None:
        wanted.append(("a number of tokens", found.counted, "tokens", response.tokens))
    well = found.readable >= FOUND * found.answered
    if not well:
        share = percent(found.readable / found.answered)
        told = f"{share} of the last day's answers are JSON: the others are judged by no check"
        says.warn("answers", told, "answer with JSON; a stream is read as the table has it")
    for what, number, key, path in wanted if found.readable else ():
        if number < FOUND * found.readable:
            told = f"{percent(number / found.readable)} of the answers have {what} at {path}"
            says.warn(f"response.{key}", told, f"correct response.{key}, if that is not as it is")
            well = False
    if well:
        told = ", ".join(f"{number:,} with {what}" for what, number, _, _ in wanted)
        says.ok("answers", f"{found.answered:,} in the last day: {told}")
