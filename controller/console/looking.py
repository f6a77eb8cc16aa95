"""Looking the bad requests of a release up now: when it went back, its table may have been late."""

from dataclasses import replace
from datetime import datetime

from controller.console.account import Account
from controller.console.reading import own
from controller.settings import ApplicationSettings, ProcessSettings, SettingsError
from controller.workspace.client import connect
from controller.workspace.examples import Examples
from controller.workspace.serving import Endpoints
from states.examples import Wanted
from states.release import Application
from states.world import Endpoint


def looked_up(told: Account, settings: ApplicationSettings, process: ProcessSettings) -> Account:
    """The account with what its inference table has by now; raises the workspace's errors.

    The same, where no guard closed its gate: then no request is known to be bad.
    """
    line = told.post_mortem
    guard, since = (own(line, name) if line else None for name in ("guard", "first_bad_from"))
    if not isinstance(guard, str) or not isinstance(since, str):
        return told
    if process.warehouse is None:
        raise SettingsError(
            "DATABRICKS_WAREHOUSE_ID is not set: name the SQL warehouse that is to look up requests"
        )
    client, version = connect(), told.status["version"]
    application = Application(name=told.status["application"], spec=settings.spec())
    seen = Endpoints(client).observe(settings.endpoint)
    shares = seen.serving.shares if isinstance(seen, Endpoint) else {}
    named = [name for name, share in shares.items() if share.version == version]
    wanted = Wanted(
        version=version,
        attempt=told.status["attempt"],
        entity=named[0] if named else application.entity(version),
        guard=guard,
        since=datetime.fromisoformat(since),
        paths=settings.counted.paths,
        slow_ms=told.slow_ms,
    )
    found = Examples(client, process.warehouse).look(application, wanted)
    return replace(told, found=found)
