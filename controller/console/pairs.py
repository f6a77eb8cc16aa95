"""`headgate pairs`: the pairs in which a candidate did worst; texts for whoever may read them.

The record has request ids and numbers. Texts are read from the inference table when they are asked
for, with the credentials of whoever asks, and are printed: nowhere else do they go.
"""

import json
import sys
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from controller.console.common import (
    WORKSPACE,
    Config,
    Json,
    Release,
    StoreUrl,
    fail,
    in_words,
    opened,
    say,
)
from controller.places import meant
from controller.record.redaction import printable
from controller.settings import ProcessSettings, SettingsError, load
from policies.replay import Replay, Replayed

if TYPE_CHECKING:
    from controller.workspace.recorded import Texts
    from states.release import Application
    from states.release import Release as Attempt

app = typer.Typer()
MARGIN = timedelta(days=2)
"""Before the oldest request of a sample: whatever zone the table's dates are of."""


@app.command()
def pairs(
    release: Release,
    text: Annotated[  # noqa: FBT002 - typer's way
        bool, typer.Option("--text", help="Print requests and answers, from the inference table.")
    ] = False,
    as_json: Json = False,  # noqa: FBT002
    config: Config = Path("headgate.yaml"),
    store: StoreUrl = None,
) -> None:
    """The recorded requests that a candidate answered worst beside stable, by request id."""
    with in_words():
        application, attempt = _selected(release, store)
        seen = attempt.replay or Replayed()
        texts = _texts(application, attempt, seen, config) if text else {}
    rows = [
        {"request": one.request, "why": one.why, "score": one.score}
        | ({"texts": _as_json(texts.get(one.request))} if text else {})
        for one in seen.worst
    ]
    if as_json:
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
        return
    say(f"{attempt.key}: {seen.because or 'no replay has ended'}")
    for one in seen.worst:
        say(f"{one.request}  {one.why}")
        if text:
            sys.stdout.writelines(f"  {line}\n" for line in _lines(texts.get(one.request)))


def _selected(selection: str, url: str | None) -> tuple["Application", "Attempt"]:
    """The release that is meant: of a version its newest attempt, else the newest replayed one."""
    name, _, version = selection.partition("/")
    record = opened(url)
    try:
        application = record.load(name, None).application
    finally:
        record.close()
    found = application.newest(version) if version else _replayed(application.releases)
    if found is None:
        raise SettingsError(f"{selection}: no such release has been replayed in this store")
    return application, found


def _replayed(releases: Iterable["Attempt"]) -> "Attempt | None":
    known = [one for one in releases if one.replay is not None]
    return max(known, key=lambda one: (int(one.version), one.attempt), default=None)


def _texts(
    application: "Application", attempt: "Attempt", seen: Replayed, config: Path
) -> dict[str, "Texts | None"]:
    """What the inference table has of the worst pairs, by request id."""
    from controller.workspace.client import connect  # noqa: PLC0415 - reading needs no SDK
    from controller.workspace.errors import WorkspaceError  # noqa: PLC0415
    from controller.workspace.inference import InferenceTable  # noqa: PLC0415
    from controller.workspace.recorded import RecordedRequests  # noqa: PLC0415
    from controller.workspace.serving import Endpoints  # noqa: PLC0415
    from states.world import Endpoint  # noqa: PLC0415

    warehouse = ProcessSettings.read().warehouse
    if warehouse is None:
        raise SettingsError("DATABRICKS_WAREHOUSE_ID: name the SQL warehouse to read texts by")
    applications = load(config).applications
    settings = applications.get(application.name)
    if settings is None:
        told = meant(application.name, list(applications), "there is")
        raise SettingsError(f"{config}: has no application {application.name}{told}")
    planned = attempt.pinned.replay if attempt.pinned is not None else None
    since = (seen.drawn_at or attempt.since) - (planned or Replay()).over - MARGIN
    try:
        client = connect()
        seen_now = Endpoints(client).observe(settings.endpoint)
        if not isinstance(seen_now, Endpoint) or seen_now.inference_table is None:
            raise SettingsError(f"{settings.endpoint} has no inference table to read texts from")
        recorded = RecordedRequests(client, warehouse, InferenceTable(client, warehouse))
        table = seen_now.inference_table
        return {
            one.request: recorded.pair(table, application.name, one.request, since)
            for one in seen.worst
        }
    except WorkspaceError as error:
        fail(str(error), WORKSPACE)


def _as_json(texts: "Texts | None") -> dict[str, object] | None:
    if texts is None:
        return None
    answers = [{"by": by or "user", "status": status, "response": response}
               for by, status, response in texts.answers]  # fmt: skip
    return {"request": texts.request, "answers": answers}


def _lines(texts: "Texts | None") -> list[str]:
    """A pair for eyes: what was asked, and each answer; control characters are shown, not sent."""
    if texts is None:
        return ["the inference table has it no more"]
    lines = [f"asked:   {printable(texts.request)}"]
    for by, status, response in texts.answers:
        who = by.split("/")[2] if by else "a user"
        lines.append(f"{who}, {status}: {printable(response)}")
    return lines
