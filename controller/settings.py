"""The configuration file, and the process settings from the environment."""

import os
import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from secrets import token_hex
from socket import gethostname
from sys import intern
from typing import Any, Literal, Self
from urllib.parse import unquote, urlsplit

import yaml
from pydantic import (
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from controller.address import USUAL, host_and_port, is_loopback
from controller.golden import MOST
from controller.places import lines, meant, refusal, sentences, twice
from controller.private import owners_text
from controller.record.redaction import hide
from controller.sections.base import NAME, Strict, interned
from controller.sections.judging import (
    AdmissionSettings,
    EvidenceSettings,
    GuardSettings,
    ReplaySettings,
    RequestSettings,
    ResponseSettings,
    RolloutSettings,
)
from controller.sections.serving import (
    PermissionSettings,
    ServingSettings,
    StagingSettings,
    TableSettings,
)
from controller.sections.testing import Test, Tests, TestsSettings
from controller.units import (
    duration,
)
from policies.guards import (
    ERRORS,
    LATENCY,
    AnswerGuard,
    CapacityGuard,
    ErrorGuard,
    Guards,
    LengthGuard,
    ScoreGuard,
    TokenGuard,
    widening,
)
from policies.rollout import WHOLE, Rollout
from states.counted import Counted, Paths, Query
from states.setup import DEADLINE, Setup
from states.spec import Spec

MODEL_PARTS = 3
STEEPEST = 7.0
"""A relative rise of this much lets anything pass: the mean of tokens is about an eighth of the
most that is counted of an answer (`policies.criteria.USUAL`): nothing could be eight times that."""


GPU_DEADLINE = timedelta(minutes=150)
"""Databricks' own limit after the build is 30 minutes for CPU, and up to 120 for a large GPU."""
LogMode = Literal["json", "text", "auto"]
LOG_MODES: Mapping[str, LogMode] = {"json": "json", "text": "text", "auto": "auto"}


SHORTEST_LEASE = timedelta(seconds=3)


class SettingsError(Exception):
    """The configuration cannot be used; the sentence names the place and the remedy."""


class ApplicationSettings(Strict):
    """One model on one endpoint under one alias."""

    model: str
    """The registered model in Unity Catalog: `catalog.schema.model`."""
    endpoint: str
    """The serving endpoint, which Headgate creates where there is none."""
    alias: str = "production"
    """The alias that names the stable version, moved last; `none`: no alias is touched."""
    serving: ServingSettings = ServingSettings()
    staging: StagingSettings | None = None
    inference_table: TableSettings | None = None
    permissions: tuple[PermissionSettings, ...] = ()
    response: ResponseSettings = ResponseSettings()
    request: RequestSettings = RequestSettings()
    evidence: EvidenceSettings = EvidenceSettings()
    tests: Tests
    """Golden queries, asked of every version before any user meets it: a list, or a mapping that
    says where they are."""
    replay: ReplaySettings | None = None
    admission: AdmissionSettings = AdmissionSettings()
    rollout: RolloutSettings = RolloutSettings()
    guards: GuardSettings = GuardSettings()

    @field_validator("model")
    @classmethod
    def _three_parts(cls, model: str) -> str:
        parts = model.split(".")
        if len(parts) != MODEL_PARTS or not all(NAME.match(part) for part in parts):
            raise ValueError("name the model as catalog.schema.model, as Unity Catalog does")
        return model

    @field_validator("permissions")
    @classmethod
    def _one_level_each(
        cls, permissions: tuple[PermissionSettings, ...]
    ) -> tuple[PermissionSettings, ...]:
        holders = [(one.grant.kind, one.grant.name) for one in permissions]
        for index, (kind, name) in enumerate(holders):
            if (kind, name) in holders[:index]:
                raise refusal((index,), f"{kind} {name} is given a level already: keep one of them")
        return permissions

    @field_validator("endpoint", "alias")
    @classmethod
    def _name(cls, name: str) -> str:
        if not NAME.match(name):
            raise ValueError("use 1 to 63 letters, digits, - and _")
        return name

    @model_validator(mode="before")
    @classmethod
    def _every_guard_counts_something(cls, value: object) -> object:
        """A guard that nothing counts for would be one that is silently not there."""
        guards, queries = _mapping(value, "guards"), _mapping(value, "evidence", "queries")
        for name in guards:
            if name in GuardSettings.model_fields:
                continue
            if name not in queries:
                known = [*GuardSettings.model_fields, *map(str, queries)]
                told = "no such guard, and no query in evidence.queries brings a score of that name"
                raise refusal(("guards", str(name)), told + meant(str(name), known))
            counts = _mapping(queries, name).get("counts")
            if counts in (ERRORS, LATENCY):
                told = f"query {name} counts {counts}: set its margin in guards.{counts}"
                raise refusal(("guards", str(name)), told)
        if "tokens" in guards and _mapping(value, "response").get("tokens") is None:
            told = (
                "nothing counts tokens: say in response.tokens where a response has their number, "
                "such as $.usage.completion_tokens"
            )
            raise refusal(("guards", "tokens"), told)
        return value

    @model_validator(mode="after")
    def _limit_holds(self) -> Self:
        """A limit that was stated, and could never be exceeded, would be one that is not there."""
        mute = [
            name
            for name, one in self.evidence.queries.items()
            if one.counts == ERRORS and not one.server_errors
        ]
        if mute and "limit" in self.guards.errors.model_fields_set:
            raise refusal(
                ("guards", "errors", "limit"),
                f"query {mute[0]} does not tell server errors apart, which the limit is on: let it "
                "bring a column server_error, 0 or 1, and say server_errors: true in "
                f"evidence.queries.{mute[0]}; or leave the limit out",
            )
        return self

    @model_validator(mode="after")
    def _tests_can_be_judged(self) -> Self:
        tests = self.stated_tests
        if len(tests) > MOST:
            raise refusal(("tests",), f"{len(tests)} golden queries: state {MOST} at most")
        if self.response.tokens is None and any(one.expect.max_tokens is not None for one in tests):
            raise refusal(
                ("tests",),
                "nothing counts the tokens that max_tokens limits: say in response.tokens where a "
                "response has their number, such as $.usage.completion_tokens",
            )
        return self

    @model_validator(mode="after")
    def _margins_mean_something(self) -> Self:
        """The first step is judged by a multiple of each margin, which must still exclude much."""
        first = self.rollout.steps[0]
        if first == WHOLE:
            return self
        for name, margin, most, unit in self._margins():
            wide = margin * widening(first)
            if wide >= most:
                raise refusal(
                    ("guards", name, "margin"),
                    f"the step at {first} % would be judged by {100 * wide:.0f} {unit}, which lets "
                    "anything pass; state a smaller margin",
                )
        return self

    def _margins(self) -> Iterator[tuple[str, float, float, str]]:
        """Each judging guard's margin, what it must stay under when widened, and its unit."""
        guards = self.guards
        yield "errors", guards.errors.margin, 1, "pp"
        yield "latency", guards.latency.margin, STEEPEST, "%"
        yield "answers", guards.answers.margin, 1, "pp"
        if self.response.tokens is not None:
            yield "tokens", guards.tokens.margin, STEEPEST, "%"
        if guards.length is not None:
            yield "length", guards.length.margin, 1, "pp"
        for name in self._scores():
            yield name, guards.score(name).margin, 1, "pp"

    def _scores(self) -> list[str]:
        return [name for name, one in self.evidence.queries.items() if one.counts == "score"]

    @property
    def staging_endpoint(self) -> str | None:
        """The name of the staging endpoint; None where none is wanted."""
        return self.staging.name(self.endpoint) if self.staging is not None else None

    @property
    def stated_tests(self) -> tuple[Test, ...]:
        """The golden queries of the configuration, then those of its file."""
        tests = self.tests
        return (*tests.queries, *tests.file) if isinstance(tests, TestsSettings) else tests

    @property
    def counted(self) -> Counted:
        """How requests are counted."""
        return Counted(
            paths=Paths(
                **dict(self.response), session=self.request.session, question=self.request.query
            ),
            queries=tuple(
                Query(name=name, **dict(one)) for name, one in self.evidence.queries.items()
            ),
        )

    def spec(self) -> Spec:
        """The part that the states decide by."""
        return Spec(
            model=intern(self.model),
            endpoint=intern(self.endpoint),
            alias=None if self.alias == "none" else intern(self.alias),
            rollout=interned(Rollout(**dict(self.rollout))),
            guards=self._guards(),
            tests=interned(tuple(test.golden(self.request.query) for test in self.stated_tests)),
            tests_table=self.tests.table if isinstance(self.tests, TestsSettings) else None,
            admission=interned(self.admission.rules()),
            staging=self.staging_endpoint,
            counted=interned(self.counted),
            setup=interned(
                Setup(
                    size=self.serving.size,
                    scale_to_zero=self.serving.scale_to_zero,
                    variables=self.serving.variables,
                    permissions=tuple(one.grant for one in self.permissions),
                    captures=self.inference_table is not None,
                    usage_tracking=self.serving.usage_tracking,
                )
            ),
            environment_declared=self.serving.environment is not None,
            others_declared=self.serving.others_environment is not None,
            evidence_every=interned(self.evidence.every),
            max_lag=interned(self.evidence.max_lag),
            replay=self.replay.replay() if self.replay is not None else None,
            provisioning_deadline=_built_within(self.serving.workload_type),
        )

    def _guards(self) -> Guards:
        guards = self.guards
        counts_tokens = self.response.tokens is not None
        return Guards(
            errors=interned(ErrorGuard(**dict(guards.errors))),
            latency=interned(guards.latency.guard()),
            answers=interned(AnswerGuard(**dict(guards.answers))),
            tokens=TokenGuard(**dict(guards.tokens)) if counts_tokens else None,
            length=LengthGuard(**dict(guards.length)) if guards.length is not None else None,
            capacity=interned(CapacityGuard(**dict(guards.capacity))),
            scores={name: ScoreGuard(**dict(guards.score(name))) for name in self._scores()},
        )


def _built_within(workload_type: str | None) -> timedelta:
    """How long Databricks may take to build and deploy a version: longer, where it has a GPU."""
    return GPU_DEADLINE if "GPU" in (workload_type or "") else DEADLINE


def _mapping(value: object, *keys: object) -> Mapping[Any, Any]:
    """What stands below some keys of a file, where that is a mapping; else nothing."""
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


class Configuration(Strict):
    """The whole file."""

    applications: dict[str, ApplicationSettings] = Field(min_length=1)

    @model_validator(mode="after")
    def _unique(self) -> Self:
        owners: dict[tuple[str, ...], str] = {}
        for name, one in self.applications.items():
            if not NAME.match(name):
                raise ValueError(f"application {name!r}: use 1 to 63 letters, digits, - and _")
            named = ("model and alias", one.model, one.alias)
            # Of an application without an alias nothing is moved that another could move, too.
            for thing in (("endpoint", one.endpoint), *([] if one.alias == "none" else [named])):
                if thing in owners:
                    raise ValueError(f"{name} and {owners[thing]} share one {thing[0]}: {thing[1]}")
                owners[thing] = name
        return self

    @model_validator(mode="after")
    def _staging_is_apart(self) -> Self:
        """What is made and removed at will has a name that nothing else has."""
        owners = {
            one.endpoint: f"the endpoint of {name}" for name, one in self.applications.items()
        }
        for name, one in self.applications.items():
            staging = one.staging_endpoint
            if staging is None:
                continue
            if staging in owners:
                told = f"{staging} is {owners[staging]}: name one that nothing else has, and that "
                told += "Headgate may create and delete"
                raise refusal(("applications", name, "staging", "endpoint"), told)
            owners[staging] = f"the staging endpoint of {name}"
        return self


def load(path: Path) -> Configuration:
    """Read and check a configuration file, or say what is wrong with it, where, and the remedy."""
    text = _text(path)
    node, value, doubled = parsed(path, text)
    if not isinstance(value, Mapping):
        raise SettingsError(f"{path}: start with `applications:` and name one below it")
    if doubled:
        raise SettingsError(f"{path}:{doubled[1]}: key {doubled[0]} is given twice")
    # Of thousands of applications they are most of the memory; lines are for what is refused.
    del node
    try:
        return Configuration.model_validate(value, context={"folder": path.parent})
    except ValidationError as error:
        again = yaml.compose(text, Loader=yaml.SafeLoader)
        known = lines(again, ()) if again else {}
        raise SettingsError(sentences(path, known, error.errors(), Configuration)) from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: is not UTF-8 text") from error


def parsed(path: Path, text: str) -> tuple[yaml.Node | None, Any, tuple[str, int] | None]:
    """The text of a YAML file as nodes, which have lines; as values; and a key given twice."""
    try:
        value = _values(text)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        return node, value, twice(node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "is not YAML"
        raise SettingsError(f"{path}{line}: {problem}") from error
    except RecursionError as error:
        raise SettingsError(f"{path}: nests too deep to be a configuration") from error
    except ValueError as error:
        # A date or a number by its form, such as 2026-13-01.
        raise SettingsError(f"{path}: {error}: put what is text into quotes") from error


def _values(text: str) -> Any:  # noqa: ANN401 - whatever the file has
    """The values of a YAML text, copied out of its nodes' midst.

    Where a value is left between thousands of nodes that are gone, their memory cannot be given
    back. What values are made of is not what was written: merged keys stand in it beside others.
    """
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        value = loader.construct_document(node) if node is not None else None
        return pickle.loads(pickle.dumps(value))  # noqa: S301 - our own, made just now
    finally:
        loader.dispose()


TOKEN_LENGTH = 16
"""Fewest characters of a token: shorter ones can be guessed."""
SECRET_FILE = "HEADGATE_WEBHOOK_SECRET_FILE"  # noqa: S105 - the name of a variable


@dataclass(frozen=True, kw_only=True)
class HttpSettings:
    """Where the daemon's HTTP application listens, and who may ask it more than how it is."""

    host: str = "127.0.0.1"
    port: int = 8350
    token: str | None = field(default=None, repr=False)
    secret: str | None = field(default=None, repr=False)
    """What whoever rings the doorbell signs with."""

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ) -> Self | None:
        """The settings of this process, or a sentence that names the variable; None for `off`."""
        address = environ.get("HEADGATE_HTTP", USUAL)
        token_file = environ.get("HEADGATE_TOKEN_FILE") or None
        if address == "off":
            return None
        parts = host_and_port(address)
        if parts is None:
            raise SettingsError(
                f"HEADGATE_HTTP={address}: write a host and a port, like {USUAL}, or `off`"
            )
        host, port = parts
        if token_file is None and not is_loopback(host):
            raise SettingsError(
                f"HEADGATE_HTTP={address}: who can reach this address must show a token: name a "
                "file with one in HEADGATE_TOKEN_FILE, or listen on 127.0.0.1"
            )
        token, secret = secret_of("HEADGATE_TOKEN_FILE", environ), secret_of(SECRET_FILE, environ)
        return cls(host=host, port=port, token=token, secret=secret)


@dataclass(frozen=True, kw_only=True)
class RemoteSettings:
    """Which daemon the commands ask over HTTP, and the token that they show it."""

    url: str
    token: str = field(repr=False)

    @classmethod
    def read(cls, url: str | None, environ: Mapping[str, str] = os.environ) -> Self | None:
        """The daemon that is named, or that of HEADGATE_URL; None where neither is."""
        named = "--url " if url else "HEADGATE_URL="
        url = url or environ.get("HEADGATE_URL") or None
        if url is None:
            return None
        try:
            parts = urlsplit(url)
            whole = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            whole = False
        if not whole or "@" in url or "?" in url or "#" in url or not url.isprintable():
            # It may hold a password, and is not repeated.
            raise SettingsError(
                f"{named}...: write a daemon's address, like http://127.0.0.1:8350; the token is "
                "in a file that HEADGATE_TOKEN_FILE names"
            )
        allowed = _yes("HEADGATE_ALLOW_HTTP", environ)
        if parts.scheme == "http" and not allowed and not is_loopback(parts.hostname or ""):
            raise SettingsError(
                f"{named}{url}: everybody on the way there could read the token, which gives every "
                "order: write https:// and put TLS in front of the daemon, or reach it through a "
                "tunnel from this machine (`kubectl port-forward`, `ssh -L`); on a network that "
                "nobody else is on, set HEADGATE_ALLOW_HTTP=yes"
            )
        token = secret_of("HEADGATE_TOKEN_FILE", environ)
        if token is None:
            raise SettingsError(
                f"{named}{url}: a daemon takes orders from whoever shows its token: name a file "
                "with it in HEADGATE_TOKEN_FILE, or give the order through --store"
            )
        return cls(url=url.rstrip("/"), token=token)


def secret_of(variable: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """What is in the file that a variable names, which is for its owner only; None without one."""
    if not environ.get(variable):
        return None
    path = Path(environ[variable])
    place, token = f"{variable}={path}", private_text(variable, path).strip()
    if len(token) < TOKEN_LENGTH or not (token.isascii() and token.isprintable()) or " " in token:
        raise SettingsError(
            f"{place}: put one line with at least {TOKEN_LENGTH} letters and digits into it, such "
            "as `openssl rand -hex 32` prints"
        )
    hide(token)
    return token


def private_text(variable: str, path: Path) -> str:
    """What is in a file that a variable names, which must be for its owner only."""
    try:
        return owners_text(path)
    except ValueError as error:
        raise SettingsError(f"{variable}={path}: {error}") from error


@dataclass(frozen=True, kw_only=True)
class ProcessSettings:
    """What the deployer sets in the environment; read once, here and nowhere else."""

    store: str = "sqlite:///headgate.db"
    poll: timedelta = timedelta(seconds=30)
    log: LogMode = "auto"
    warehouse: str | None = None
    replica: str = field(default_factory=lambda: f"{gethostname()}-{os.getpid()}-{token_hex(2)}")
    """The name of this process among those that share a store; each life has one of its own."""
    lease: timedelta = timedelta(seconds=30)
    """After how long without a sign of life another replica takes over."""
    pat: bool = False
    """A personal access token may be used, although it is a person's."""

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """The settings of this process, or a sentence that names the variable."""
        lease = environ.get("HEADGATE_LEASE", "30s")
        poll, log = environ.get("HEADGATE_POLL", "30s"), environ.get("HEADGATE_LOG", "auto")
        pace = length_of("HEADGATE_POLL=", poll)
        if pace < timedelta(milliseconds=100):
            raise SettingsError(f"HEADGATE_POLL={poll}: look at most ten times a second")
        mode = LOG_MODES.get(log)
        if mode is None:
            raise SettingsError(f"HEADGATE_LOG={log}: say json, text or auto")
        store = environ.get("HEADGATE_STORE", cls.store)
        hide(password_of(store), environ.get("PGPASSWORD"))
        return cls(
            store=store,
            poll=pace,
            log=mode,
            warehouse=environ.get("DATABRICKS_WAREHOUSE_ID") or None,
            lease=_lease(lease),
            pat=_yes("HEADGATE_ALLOW_PAT", environ),
        )


def _yes(variable: str, environ: Mapping[str, str]) -> bool:
    """Whether a variable allows what is refused by default."""
    said = environ.get(variable, "no")
    if said not in {"yes", "no"}:
        raise SettingsError(f"{variable}={said}: say yes or no")
    return said == "yes"


def password_of(store: str) -> str | None:
    """The password in a store's URL, as the server is told it."""
    try:
        return urlsplit(store).password and unquote(urlsplit(store).password or "")
    except ValueError:
        return None  # no URL at all, which is told where it is opened


def _lease(text: str) -> timedelta:
    """How long replicas are trusted to live without a sign."""
    lease = length_of("HEADGATE_LEASE=", text)
    if lease < SHORTEST_LEASE:
        raise SettingsError(
            f"HEADGATE_LEASE={text}: a replica renews it six times in its length, and a stall of a "
            "second must not cost it: say 3s at least, 30s in production"
        )
    return lease


def after_of(text: str) -> timedelta:
    """How long nobody has looked, before a dead man's switch acts."""
    return length_of("--after ", text)


def length_of(named: str, text: str) -> timedelta:
    """A duration, or the sentence that names who said it."""
    try:
        length = duration(text)
    except ValueError as error:
        raise SettingsError(f"{named}{text}: {error}") from error
    assert isinstance(length, timedelta), "duration tells of nothing else"
    return length
