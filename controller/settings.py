"""The configuration file, and the process settings from the environment.

Unknown keys are refused with the line and the nearest known key: a misspelt guard must never be a
guard that is silently not there.
"""

import difflib
import os
import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from policies.golden import GoldenQuery
from policies.rollout import WHOLE, ErrorGuard, Rollout, margin_at
from states.release import Spec

NAME = re.compile(r"^[A-Za-z0-9_-]{1,63}$")
"""Databricks' alphabet and length for endpoints; ours for applications."""
MODEL_PARTS = 3
DURATION = re.compile(r"^(\d+(?:\.\d+)?)(ms|s|m|h|d)$")
UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
SHARE = re.compile(r"^(\d+(?:\.\d+)?)\s*(%|pp)$")


LogMode = Literal["json", "text", "auto"]
LOG_MODES: Mapping[str, LogMode] = {"json": "json", "text": "text", "auto": "auto"}


class SettingsError(Exception):
    """The configuration cannot be used; the sentence names the place and the remedy."""


def _duration(value: object) -> object:
    if isinstance(value, timedelta):
        return value
    found = DURATION.match(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("write a duration such as 30s, 10m, 1h or 7d")
    return timedelta(seconds=float(found[1]) * UNITS[found[2]])


def _share(value: object) -> object:
    found = SHARE.match(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("write a share such as 0.5pp or 5%")
    return float(found[1]) / 100


Duration = Annotated[timedelta, BeforeValidator(_duration), Field(ge=timedelta())]
Share = Annotated[float, BeforeValidator(_share), Field(gt=0, lt=1)]
DEFAULTS = Rollout()
SPEC = Spec(model="", endpoint="")


class Strict(BaseModel):
    """Every key is known, or refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Expect(Strict):
    """What a golden answer must show."""

    answer_contains: tuple[str, ...] = ()
    min_sources: int = Field(default=0, ge=0)


class Test(Strict):
    """One golden query."""

    query: str = Field(min_length=1)
    expect: Expect = Expect()


class ServingSettings(Strict):
    """How a new served entity is sized and set up; running ones keep their size."""

    workload_size: Literal["Small", "Medium", "Large"] | None = None
    min_concurrency: int | None = Field(default=None, ge=0, multiple_of=4)
    max_concurrency: int | None = Field(default=None, ge=4, multiple_of=4)
    workload_type: str = "CPU"
    scale_to_zero: bool = False
    environment: dict[str, str] | Literal["none"] | None = None
    instance_profile: str | None = None

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        ends = [self.min_concurrency, self.max_concurrency]
        if self.workload_size and any(end is not None for end in ends):
            raise ValueError("say workload_size, or min_concurrency and max_concurrency, not both")
        if (ends[0] is None) != (ends[1] is None):
            raise ValueError("min_concurrency and max_concurrency go together")
        return self


class TableSettings(Strict):
    """Where the AI Gateway inference table of a new endpoint is written."""

    catalog: str
    schema_name: str = Field(alias="schema")
    prefix: str | None = None


class ResponseSettings(Strict):
    """Where an answer and its sources stand in a response."""

    answer: str = "$.predictions[0].answer"
    sources: str = "$.predictions[0].sources"


class EvidenceSettings(Strict):
    """How often the counting source is asked, and when its silence means that it is broken."""

    every: Duration = SPEC.evidence_every
    max_lag: Duration = SPEC.max_lag


class AdmissionSettings(Strict):
    """What a version must show before it may begin."""

    required_tags: tuple[str, ...] = ()


class RolloutSettings(Strict):
    """The climb; see `policies.rollout` for the reason of each default."""

    steps: tuple[int, ...] = DEFAULTS.steps
    settle: Duration = DEFAULTS.settle
    min_step: Duration = DEFAULTS.min_step
    bake: Duration = DEFAULTS.bake
    watch: Duration = DEFAULTS.watch
    patience: Duration = DEFAULTS.patience
    on_undecided: Literal["ask", "roll_back"] = DEFAULTS.on_undecided
    retain: Duration = DEFAULTS.retain

    @field_validator("steps")
    @classmethod
    def _climbs(cls, steps: tuple[int, ...]) -> tuple[int, ...]:
        if not steps or steps[-1] != 100 or steps[0] < 1 or list(steps) != sorted(set(steps)):  # noqa: PLR2004 - percent
            raise ValueError(
                "steps are rising percentages that end at 100, such as [5, 25, 50, 100]"
            )
        return steps


class ErrorSettings(Strict):
    """The guard on errors."""

    margin: Share = ErrorGuard().margin
    limit: Share = ErrorGuard().limit


class GuardSettings(Strict):
    """The guards; each default has its reason in `policies.rollout`."""

    errors: ErrorSettings = ErrorSettings()


class ApplicationSettings(Strict):
    """One model on one endpoint under one alias."""

    model: str
    endpoint: str
    alias: str = "production"
    serving: ServingSettings = ServingSettings()
    inference_table: TableSettings | None = None
    response: ResponseSettings = ResponseSettings()
    evidence: EvidenceSettings = EvidenceSettings()
    tests: tuple[Test, ...] = Field(min_length=1)
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

    @field_validator("endpoint", "alias")
    @classmethod
    def _name(cls, name: str) -> str:
        if not NAME.match(name):
            raise ValueError("use 1 to 63 letters, digits, - and _")
        return name

    @model_validator(mode="after")
    def _margin_means_something(self) -> Self:
        """The first step is judged by a multiple of the margin, which must stay under the whole."""
        first = self.rollout.steps[0]
        wide = margin_at(first, ErrorGuard(**dict(self.guards.errors)))
        if first < WHOLE and wide >= 1:
            raise ValueError(
                f"guards.errors.margin: the step at {first} % would be judged by "
                f"{100 * wide:.0f} pp, which lets anything pass; state a smaller margin"
            )
        return self

    def spec(self) -> Spec:
        """The part that the states decide by."""
        return Spec(
            model=self.model,
            endpoint=self.endpoint,
            alias=None if self.alias == "none" else self.alias,
            rollout=Rollout(**dict(self.rollout)),
            errors=ErrorGuard(**dict(self.guards.errors)),
            tests=tuple(GoldenQuery(query=test.query, **dict(test.expect)) for test in self.tests),
            required_tags=self.admission.required_tags,
            environment_declared=self.serving.environment is not None,
            evidence_every=self.evidence.every,
            max_lag=self.evidence.max_lag,
        )


class Configuration(Strict):
    """The whole file."""

    applications: dict[str, ApplicationSettings] = Field(min_length=1)

    @model_validator(mode="after")
    def _unique(self) -> Self:
        owners: dict[tuple[str, ...], str] = {}
        for name, one in self.applications.items():
            if not NAME.match(name):
                raise ValueError(f"application {name!r}: use 1 to 63 letters, digits, - and _")
            for thing in (("endpoint", one.endpoint), ("model and alias", one.model, one.alias)):
                if thing in owners:
                    raise ValueError(f"{name} and {owners[thing]} share one {thing[0]}: {thing[1]}")
                owners[thing] = name
        return self


def load(path: Path) -> Configuration:
    """Read and check a configuration file, or say what is wrong with it, where, and the remedy."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: is not UTF-8 text") from error
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "is not YAML"
        raise SettingsError(f"{path}{line}: {problem}") from error
    if not isinstance(value, Mapping):
        raise SettingsError(f"{path}: start with `applications:` and name one below it")
    lines = _lines(node, ()) if node else {}
    if twice := _twice(node):
        raise SettingsError(f"{path}:{twice[1]}: key {twice[0]} is given twice")
    try:
        return Configuration.model_validate(value)
    except ValidationError as error:
        told = [_sentence(path, lines, detail) for detail in _deepest(error.errors())]
        raise SettingsError("\n".join(told)) from error


def _lines(node: yaml.Node, at: tuple[str | int, ...]) -> dict[tuple[str | int, ...], int]:
    """The line (from 1) of every key and item, by its place."""
    found = {at: node.start_mark.line + 1}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            place = (*at, str(key.value))
            found |= _lines(value, place)
            found[place] = key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            found |= _lines(value, (*at, index))
    return found


def _twice(node: yaml.Node | None) -> tuple[str, int] | None:
    """The first key that stands twice in one mapping, with its line."""
    if isinstance(node, yaml.MappingNode):
        seen: set[Hashable] = set()
        for key, value in node.value:
            if key.value in seen:
                return str(key.value), key.start_mark.line + 1
            seen.add(key.value)
            if found := _twice(value):
                return found
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            if found := _twice(value):
                return found
    return None


def _sentence(path: Path, lines: Mapping[tuple[str | int, ...], int], detail: Any) -> str:  # noqa: ANN401 - pydantic's
    place = tuple(detail["loc"])
    known = place
    while known and known not in lines:
        known = known[:-1]
    where = f"{path}:{lines.get(known, 1)}: {'.'.join(str(part) for part in place) or 'file'}"
    if detail["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(place[-1]), _keys(place[:-1]), n=1)
        meant = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(_keys(place[:-1]))}"
        return f"{where}: unknown key{meant}"
    if detail["type"] == "missing":
        return f"{where}: is missing; state it"
    return f"{where}: {detail['msg'].removeprefix('Value error, ')}"


def _deepest(details: Sequence[Any]) -> list[Any]:
    """The complaints without those that only follow from one further down, as of an empty list."""
    places = [tuple(detail["loc"]) for detail in details]
    return [
        detail
        for detail, place in zip(details, places, strict=True)
        if not any(len(other) > len(place) and other[: len(place)] == place for other in places)
    ]


def _keys(place: tuple[str | int, ...]) -> list[str]:
    """The keys that a place in the file knows."""
    model: type[BaseModel] | None = Configuration
    for part in place:
        if model is None:
            return []
        if model is Configuration:
            model = Configuration if part == "applications" else ApplicationSettings
            continue
        if isinstance(part, int):
            continue
        field = next((f for n, f in model.model_fields.items() if part in (n, f.alias)), None)
        model = _model_of(field.annotation) if field else None
    if model is None:
        return []
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_of(annotation: Any) -> type[BaseModel] | None:  # noqa: ANN401 - a type expression
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = [_model_of(part) for part in getattr(annotation, "__args__", ())]
    return next((model for model in inner if model is not None), None)


@dataclass(frozen=True, kw_only=True)
class ProcessSettings:
    """What the deployer sets in the environment; read once, here and nowhere else."""

    store: str = "sqlite:///headgate.db"
    poll: timedelta = timedelta(seconds=30)
    log: LogMode = "auto"
    warehouse: str | None = None

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """The settings of this process, or a sentence that names the variable."""
        poll, log = environ.get("HEADGATE_POLL", "30s"), environ.get("HEADGATE_LOG", "auto")
        try:
            pace = _duration(poll)
        except ValueError as error:
            raise SettingsError(f"HEADGATE_POLL={poll}: {error}") from error
        assert isinstance(pace, timedelta), "checked above"
        if pace < timedelta(milliseconds=100):
            raise SettingsError(f"HEADGATE_POLL={poll}: look at most ten times a second")
        mode = LOG_MODES.get(log)
        if mode is None:
            raise SettingsError(f"HEADGATE_LOG={log}: say json, text or auto")
        return cls(
            store=environ.get("HEADGATE_STORE", cls.store),
            poll=pace,
            log=mode,
            warehouse=environ.get("DATABRICKS_WAREHOUSE_ID") or None,
        )
