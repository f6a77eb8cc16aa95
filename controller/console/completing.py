"""What a shell may complete: applications and releases, by the configuration and the store.

A person waits for it at every Tab, and cannot be told anything: what cannot be read quickly is not
offered, without a word.
"""

import os
from contextlib import suppress
from pathlib import Path

import typer
import yaml

from controller.record.errors import RecordError
from controller.settings import ProcessSettings

USUAL = Path("headgate.yaml")
"""The configuration that is looked into where none is named yet."""


def applications(ctx: typer.Context, incomplete: str) -> list[str]:
    """The applications whose names begin so."""
    found = {*_configured(ctx.params.get("config")), *_recorded(ctx.params.get("store"))}
    return sorted(name for name in found if name.startswith(incomplete))


def releases(ctx: typer.Context, incomplete: str) -> list[str]:
    """The applications whose names begin so; after a slash, an application's releases."""
    name, slash, _ = incomplete.partition("/")
    if not slash:
        return applications(ctx, incomplete)
    versions = _recorded(ctx.params.get("store")).get(name, ())
    found = (f"{name}/{version}" for version in sorted(versions, key=int, reverse=True))
    return [one for one in found if one.startswith(incomplete)]


def _configured(path: Path | None) -> list[str]:
    """The names in a configuration file, valid or not."""
    with suppress(OSError, UnicodeDecodeError, yaml.YAMLError):
        read = yaml.safe_load(Path(path or USUAL).read_text(encoding="utf-8"))
        named = read.get("applications") if isinstance(read, dict) else None
        return [str(name) for name in named] if isinstance(named, dict) else []
    return []


def _recorded(url: str | None) -> dict[str, set[str]]:
    """The versions of each application in the store, if it is a file: no server is waited for."""
    url = url or os.environ.get("HEADGATE_STORE", ProcessSettings.store)
    if not url.startswith("sqlite:"):
        return {}
    from controller.record.store import Store  # noqa: PLC0415 - with the database's engine

    with suppress(RecordError):
        store = Store(url, create=False)
        try:
            return store.versions()
        finally:
            store.close()
    return {}
