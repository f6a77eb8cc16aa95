"""`headgate doctor`: what would stop a release, found by reading alone, each with its remedy.

Every look is one line: `ok`; `warn`, which stops nothing; `stops`, which a release would meet; and
`skip`, where nothing was looked at, and why. Nothing in the workspace is changed, and no model is
asked unless `--probe` says so. Two traces stay: a warehouse that slept is awake, as after each look
of the daemon, and Unity Catalog's lineage knows that MLflow has read a file of the newest version.
"""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from databricks.sdk import WorkspaceClient

from controller import settings as configuration
from controller.console import recorded
from controller.console.examination import Examination, access
from controller.console.findings import CONFIGURATION, STORE, WORKSPACE, Report, Section
from controller.console.waiting import Progress, unseen
from controller.record.errors import RecordError, StoreHeld
from controller.record.lock import lock_file
from controller.record.opening import Place, place_of, schema
from controller.record.schema import VERSION
from controller.record.sqlite import File
from controller.record.store import Store
from controller.settings import Configuration, ProcessSettings
from controller.workspace.checks import Checks, Identity
from controller.workspace.client import connect
from controller.workspace.errors import Refused, Unconfigured, Unreachable, WorkspaceError
from states.release import Application

SKEW = timedelta(seconds=5)
"""Clocks further apart are told: the daemon translates, but the log's times mislead a reader."""
ASLEEP, GONE = ("STOPPED", "STOPPING"), ("DELETED", "DELETING")
VARIABLE = "set DATABRICKS_WAREHOUSE_ID to an id of `databricks warehouses list`"


@dataclass
class Doctor:
    """One visit: the store, the workspace, and each application of a configuration."""

    process: ProcessSettings
    loaded: Configuration
    probe: bool = False
    progress: Progress = unseen
    report: Report = field(default_factory=Report)
    identity: Identity | None = None
    """Who we are to the workspace; None while it was not told."""
    examined: dict[str, Examination] = field(default_factory=dict)

    @property
    def says(self) -> Section:
        """Where findings go that concern all applications."""
        return self.report.about(None)

    def visit(self) -> Report:
        """Look at everything; `Unconfigured`, if there are no credentials to look with."""
        client = connect()
        checks = Checks(client, self.process.warehouse)
        self.identity = self._identity(checks)
        # Clocks are compared by the store's, which is this machine's while it is a file.
        answers = self._warehouse(checks)
        known = self._store()
        if self.identity is not None:
            self._applications(client, checks, self.identity, known, sql=answers)
        return self.report

    def record(self, path: Path) -> bool:
        """Write down what the visit saw; False if the workspace let nobody look."""
        if self.identity is None:
            return False
        recorded.write(path, self.identity, self.examined)
        return True

    def _applications(
        self,
        client: WorkspaceClient,
        checks: Checks,
        identity: Identity,
        known: Mapping[str, Application],
        *,
        sql: bool,
    ) -> None:
        for name, one in self.loaded.applications.items():
            spec = one.spec()
            self.progress(f"looking at {name}, which is served by {spec.endpoint}")
            self.examined[name] = Examination(
                client=client,
                checks=checks,
                identity=identity,
                settings=one,
                known=known.get(name, Application(name=name, spec=spec)),
                says=self.report.about(name),
                sql=sql,
                probe=self.probe,
            )
            self.examined[name].run()

    def _identity(self, checks: Checks) -> Identity | None:
        """Whether there is a workspace that lets us in."""
        try:
            identity = checks.identity()
        except Unconfigured:
            raise
        except WorkspaceError as error:
            found, _, remedy = str(error).rpartition(": ")
            self.says.stops("workspace", found, remedy, WORKSPACE)
            return None
        found = f"reached as {identity.name}, by {identity.method}"
        if identity.method == "pat" and not identity.loopback:
            refused = "" if self.process.pat else "; the daemon refuses one"
            self.says.warn(
                "workspace",
                f"{found}: a personal access token is a person's, and ends without notice{refused}",
                "run as a service principal: DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET"
                + (", or set HEADGATE_ALLOW_PAT=yes" if refused else ""),
            )
        else:
            self.says.ok("workspace", found)
        return identity

    def _warehouse(self, checks: Checks) -> bool:
        """Whether SQL can be asked; asking starts a warehouse that sleeps, as every look does."""
        warehouse = self.process.warehouse
        if warehouse is None:
            found = "DATABRICKS_WAREHOUSE_ID is not set: the daemon would not start"
            self.says.stops("SQL warehouse", found, VARIABLE, CONFIGURATION)
        if warehouse is None or self.identity is None:
            return False
        grant = access(self.identity, "CAN_USE")
        remedy = f"PATCH /api/2.0/permissions/warehouses/{warehouse} {grant}, by one who manages it"
        try:
            state = checks.warehouse_state()
        except Refused:
            found = f"there is no warehouse {warehouse}"
            self.says.stops("SQL warehouse", found, VARIABLE)
            return False
        except WorkspaceError as error:
            self.says.trouble("SQL warehouse", error, remedy, warns=False)
            return False
        if state in GONE:
            self.says.stops("SQL warehouse", f"{warehouse} is {state}", VARIABLE)
            return False
        if state in ASLEEP:
            found = f"{warehouse} is {state}: every look at the evidence starts it, as this one"
            self.says.warn("SQL warehouse", found, "a serverless one starts in seconds")
        else:
            self.says.ok("SQL warehouse", f"{warehouse} is {state or 'in an unknown state'}")
        return self._statement(checks, remedy, asleep=state in (*ASLEEP, "STARTING"))

    def _statement(self, checks: Checks, remedy: str, *, asleep: bool) -> bool:
        """The smallest statement, which brings the warehouse's time."""
        try:
            offset = checks.offset()
        except WorkspaceError as error:
            warns = asleep and isinstance(error, Unreachable)
            self.says.trouble("SQL statement", error, remedy, warns=warns)
            return False
        self.says.ok("SQL statement", "SELECT 1 runs")
        ahead, within = offset.ahead.total_seconds(), offset.within.total_seconds()
        found = f"the warehouse's clock is {ahead:+.1f} s from this one (± {within:.1f} s)"
        if abs(offset.ahead) - offset.within > SKEW:
            self.says.warn("clocks", found, "synchronise this machine's clock (NTP)")
        else:
            self.says.ok("clocks", found)
        return True

    def _store(self) -> dict[str, Application]:
        """The record's applications of this configuration, where the store can be used."""
        try:
            place = place_of(self.process.store)
            if isinstance(place, File) and not place.path.exists():
                self._new_store(place.path)
                return {}
            found = schema(place)
            if found is None or found < VERSION:
                has = f"has schema {found}, this Headgate {VERSION}" if found else "is empty"
                self.says.warn(
                    "store",
                    f"{place.name} {has}",
                    "`headgate run` brings it up to date"
                    + (": take a copy first" if found else ": it makes the tables"),
                )
                return {}
            known = self._known()
            self._lock(place, known)
        except RecordError as error:
            found_, _, remedy = str(error).partition(": ")
            self.says.stops("store", found_, remedy, STORE)
            return {}
        return known

    def _new_store(self, path: Path) -> None:
        directory = path.absolute().parent
        if os.access(directory, os.W_OK | os.X_OK):
            self.says.ok("store", f"there is none at {path} yet: `headgate run` makes it")
        else:
            remedy = "make its directory, with the right to write for this user"
            self.says.stops("store", f"{path} cannot be created", remedy, STORE)

    def _known(self) -> dict[str, Application]:
        store = Store(self.process.store, create=False)
        try:
            names = set(store.applications()) & self.loaded.applications.keys()
            return {
                name: store.load(name, self.loaded.applications[name].spec()).application
                for name in names
            }
        finally:
            store.close()

    def _lock(self, place: Place, known: Mapping[str, Application]) -> None:
        """Whether a daemon works on the store: the one that looks after these, or another."""
        found = f"{place.name}, schema {VERSION}, can be written"
        if not (isinstance(place, File) and lock_file(place.path).exists()):
            self.says.ok("store", found)
            return
        try:
            place.hold().close()
        except StoreHeld as error:
            if not known:
                raise
            holder = str(error).partition(": ")[0]
            self.says.ok("store", f"{holder}, the daemon that looks after this configuration")
        else:
            self.says.ok("store", f"{found}, and nobody holds it")


def diagnose(
    config: Path, process: ProcessSettings, progress: Progress = unseen, *, probe: bool
) -> Doctor:
    """A finished visit with these settings."""
    # What a library has to say of a failed call is said by its finding.
    for name in ("databricks.sdk", "mlflow", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    doctor = Doctor(process, configuration.load(config), probe, progress)
    doctor.visit()
    return doctor
