"""What an answer must show, and the first thing that it does not: one check, one sentence.

Values are those of a parsed response, as far as they are there; nothing here reads a document.
Patterns and schemas are checked by whoever asks: they need a library.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from policies.languages import NAMES, languages


@dataclass(frozen=True, kw_only=True, slots=True)
class Expectation:
    """What an answer must show; without any of these, that there is an answer."""

    answer_contains: tuple[str, ...] = ()
    answer_not_contains: tuple[str, ...] = ()
    answer_matches: tuple[str, ...] = ()
    """Patterns, each of which must be found somewhere in the answer."""
    json_schema: str = ""
    """JSON text of a schema: of the answer, or of what its text says in JSON."""
    language: str = ""
    """A code of `policies.languages.NAMES`."""
    min_length: int = 0
    """Fewest characters of the answer, without white space around it."""
    max_length: int | None = None
    min_sources: int = 0
    sources_required: tuple[str, ...] = ()
    sources_forbidden: tuple[str, ...] = ()
    max_latency: timedelta | None = None
    """From the request to the last byte of the answer, as it is seen by who asks."""
    max_tokens: int | None = None
    quotable: bool = True
    """A failure may be told with the words that were expected: they stand in the configuration."""

    @property
    def reads_answer(self) -> str:
        """The first check that needs the answer's text; empty if none does."""
        asked = {
            "answer_contains": self.answer_contains,
            "answer_not_contains": self.answer_not_contains,
            "answer_matches": self.answer_matches,
            "language": self.language,
            "min_length": self.min_length,
            "max_length": self.max_length is not None,
        }
        return next((check for check, wanted in asked.items() if wanted), "")

    @property
    def reads_sources(self) -> str:
        """The first check that needs the list of sources; empty if none does."""
        asked = {
            "min_sources": self.min_sources,
            "sources_required": self.sources_required,
            "sources_forbidden": self.sources_forbidden,
        }
        return next((check for check, wanted in asked.items() if wanted), "")


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What a response showed; None stands for what it has not, or has in another form."""

    answer: str | None = None
    sources: Sequence[object] | None = None
    tokens: float | None = None
    latency: timedelta = timedelta()
    places: tuple[str, str, str] = ("the answer", "the sources", "the tokens")
    """Where the first three were looked for, as an operator wrote it."""


def unmet(expected: Expectation, shown: Shown) -> str | None:
    """The first check that an answer does not pass, and how; None if it passes them all.

    The sentence holds no prompt and no answer, and words of the expectation if they may be told.
    """
    return next(_failures(expected, shown), None)


def _failures(expected: Expectation, shown: Shown) -> Iterator[str]:
    if expected.reads_answer:
        if shown.answer is None:
            yield f"{expected.reads_answer}: no text at {shown.places[0]}"
            return
        yield from _of_words(expected, shown.answer)
        yield from _of_form(expected, shown.answer.strip())
    if expected.reads_sources:
        if shown.sources is None:
            yield f"{expected.reads_sources}: no list at {shown.places[1]}"
            return
        yield from _of_sources(expected, shown.sources)
    if expected.max_tokens is not None:
        if shown.tokens is None:
            yield f"max_tokens: no number at {shown.places[2]}"
        elif shown.tokens > expected.max_tokens:
            yield f"max_tokens: {shown.tokens:,.0f} tokens, {expected.max_tokens:,} allowed"
    if expected.max_latency is not None and shown.latency > expected.max_latency:
        took, allowed = _ms(shown.latency), _ms(expected.max_latency)
        yield f"max_latency: {took:,} ms, {allowed:,} ms allowed"


def _of_words(expected: Expectation, answer: str) -> Iterator[str]:
    for words in expected.answer_contains:
        if words not in answer:
            yield f"answer_contains: lacks {_quoted(words, expected)}"
    for words in expected.answer_not_contains:
        if words in answer:
            yield f"answer_not_contains: has {_quoted(words, expected)}"


def _of_form(expected: Expectation, answer: str) -> Iterator[str]:
    if len(answer) < expected.min_length:
        yield f"min_length: {len(answer):,} characters, {expected.min_length:,} expected at least"
    if expected.max_length is not None and len(answer) > expected.max_length:
        yield f"max_length: {len(answer):,} characters, {expected.max_length:,} allowed"
    if expected.language:
        found, wanted = languages(answer), NAMES[expected.language]
        if not found:
            yield f"language: too little of the answer tells that it is {wanted}"
        elif expected.language not in found:
            named = " or ".join(NAMES[code] for code in sorted(found))
            yield f"language: reads as {named}, {wanted} expected"


def _of_sources(expected: Expectation, sources: Sequence[object]) -> Iterator[str]:
    if len(sources) < expected.min_sources:
        yield f"min_sources: {len(sources)} sources, {expected.min_sources} expected"
    named = [name for source in sources for name in _names(source)]
    for source in expected.sources_required:
        if source not in named:
            yield f"sources_required: lacks {_quoted(source, expected)}"
    for source in expected.sources_forbidden:
        if source in named:
            yield f"sources_forbidden: has {_quoted(source, expected)}"


def _names(source: object) -> list[object]:
    """What a source may be called: itself, or any value of a record that describes it."""
    return list(source.values()) if isinstance(source, dict) else [source]


def _quoted(words: str, expected: Expectation) -> str:
    return repr(words) if expected.quotable else "words that its table names"


def _ms(time: timedelta) -> int:
    return round(time / timedelta(milliseconds=1))
