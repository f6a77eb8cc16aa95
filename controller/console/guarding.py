"""What a configuration amounts to: its guards, each with the source that it would be counted by."""

from policies.blindness import named
from policies.guards import CAPACITY, ERRORS, LENGTH, LONGER, SHORTER, TOKENS, Guard, Guards
from policies.words import percent, points
from states.counted import Counted
from states.judging import sources
from states.release import Application
from states.spec import Spec
from states.world import Endpoint, Serving

_USUAL = Endpoint(serving=Serving(), inference_table="as by default")
"""An endpoint with its inference table, and metrics whose labels name no version."""


def golden_in_words(spec: Spec) -> str:
    """How many golden queries there are, as far as that is known without a workspace."""
    stated = f"{len(spec.tests)} golden queries"
    if spec.tests_table is None:
        return stated
    table = f"golden queries of {spec.tests_table}"
    return f"{stated}, and the {table}" if spec.tests else f"the {table}"


def gates_in_words(spec: Spec) -> list[str]:
    """What a version passes beside golden queries before users meet it, one line each."""
    told = []
    if spec.staging is not None:
        told.append(f"tested on staging endpoint {spec.staging} first, which is removed after")
    if spec.replay is not None:
        count = f"{spec.replay.requests:,}"
        told.append(f"up to {count} recorded requests are asked of both versions, and paired")
    return told


def guards_in_words(name: str, spec: Spec) -> list[str]:
    """One line for each guard: its margin, its limit, and what counts for it, or why nothing."""
    application = Application(name=name, spec=spec)
    found, best = (sources(application, _USUAL, labelled=labelled) for labelled in (False, True))
    every = _all(spec.guards, unlimited(application.counted, found[ERRORS]))
    told = [
        f"{guard}: {words}, counted by {_source(found[guard], best[guard])}"
        f"{'; observed only' * one.observe}"
        for guard, (one, words) in every.items()
        if guard in found
    ]
    if all(one.observe for guard, (one, _) in every.items() if guard != CAPACITY):
        told.append("note: every guard only observes, so that no step below 100 % will be opened")
    if spec.guards.length is None:
        told.append(f"{LENGTH}: not guarded: name guards.length to compare how long answers are")
    if spec.guards.tokens is None:
        told.append(f"{TOKENS}: not guarded: response.tokens does not say where their number is")
    return told


def _source(usual: str, labelled: str) -> str:
    """A source, and the one that takes its place where the metrics' labels name the version."""
    if usual == labelled:
        return named(usual)
    return f"{named(usual)} ({named(labelled)}, if their labels name the version)"


def unlimited(counted: Counted, source: str) -> str | None:
    """Why no limit on server errors holds, by a source of errors; None where it does."""
    if counted.tells_server_errors(source):
        return None
    return f"no limit by {named(source)}, which does not tell server errors apart"


def _all(guards: Guards, no_limit: str | None) -> dict[str, tuple[Guard, str]]:
    errors, latency, answers = guards.errors, guards.latency, guards.answers
    at_most = no_limit or f"limit {percent(errors.limit)}"
    limit = f", limit {latency.limit_ms:,.0f} ms" if latency.limit_ms is not None else ""
    told: dict[str, tuple[Guard, str]] = {
        "errors": (errors, f"margin {points(errors.margin)}, {at_most}"),
        "latency": (latency, f"margin {percent(latency.margin)}{limit}"),
        "answers": (answers, f"margin {points(answers.margin)}"),
    }
    if guards.tokens is not None:
        price = guards.tokens.price_per_1k
        cost = f", {price:g} per thousand" if price is not None else ""
        told["tokens"] = guards.tokens, f"margin {percent(guards.tokens.margin)}{cost}"
    if guards.length is not None:
        told |= dict.fromkeys(
            (SHORTER, LONGER), (guards.length, f"margin {points(guards.length.margin)}")
        )
    told[CAPACITY] = guards.capacity, f"margin {points(guards.capacity.margin)}"
    scores = {name: (one, f"margin {one.margin:.3g}") for name, one in guards.scores.items()}
    return told | scores
