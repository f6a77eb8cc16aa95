"""How versions are served, tried out beforehand, and who may ask them."""

import json
import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    field_validator,
    model_validator,
)

from controller.places import refusal
from controller.sections.base import NAME, Strict
from controller.workspace.names import PART
from states.world import Grant, Size, Variables

NAME_LENGTH = 63
STAGING = "-staging"
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
SECRET = re.compile(r"\{\{secrets/[^/{}\s]+/[^/{}\s]+\}\}")
PROFILE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:instance-profile/\S+")
CPU = "CPU"
WorkloadType = Literal[
    "CPU", "CPU_MEDIUM", "CPU_LARGE", "GPU_SMALL", "GPU_MEDIUM", "GPU_LARGE", "GPU_XLARGE",
    "GPU_XLARGE_8", "MULTIGPU_MEDIUM",
]  # fmt: skip


def _part(name: str) -> str:
    if PART.fullmatch(name) is None:
        raise ValueError("write one part of a name, without periods, spaces, slashes or backticks")
    return name


Part = Annotated[str, AfterValidator(_part)]
DIGEST_LENGTH = 16
"""Hexadecimal digits: enough to tell two sets of variables apart."""
_TOKENS = (
    "is for foundation models, in tokens per second: size a custom model with workload_size, or "
    "with min_concurrency and max_concurrency"
)
_OTHER_KIND = (
    "is another kind of served entity, which has no versions to release: Headgate serves the "
    "registered model that `model:` names"
)
_OTHERWISE = {
    "min_provisioned_throughput": _TOKENS,
    "max_provisioned_throughput": _TOKENS,
    "provisioned_model_units": "is for foundation models: size a custom model with workload_size, "
    "or with min_concurrency and max_concurrency",
    "burst_scaling_enabled": "is for foundation models, beyond their provisioned_model_units: "
    "leave room for bursts with max_concurrency",
    "external_model": _OTHER_KIND,
    "foundation_model": _OTHER_KIND,
    "foundation_model_name": _OTHER_KIND,
    "entity_name": "is what `model:` names",
    "entity_version": "is what a release is about: `headgate release` begins one",
    "name": "is given by Headgate, from the model and the version",
    "min_provisioned_concurrency": "is called min_concurrency here",
    "max_provisioned_concurrency": "is called max_concurrency here",
    "scale_to_zero_enabled": "is called scale_to_zero here",
    "environment_vars": "is called environment here",
    "instance_profile_arn": "is called instance_profile here",
}
"""What the API's served entity has besides, and what to use instead."""


class ServingSettings(Strict):
    """How a new served entity is sized and set up; running ones keep their size until `apply`."""

    workload_size: Literal["Small", "Medium", "Large"] | None = None
    """How big; without it, and without concurrency: as the stable version is, or else Small."""
    min_concurrency: int | None = Field(default=None, ge=0, multiple_of=4)
    """Requests at a time that are always provisioned for, instead of a workload size."""
    max_concurrency: int | None = Field(default=None, ge=4, multiple_of=4)
    """Requests at a time that it may grow to."""
    workload_type: WorkloadType | None = None
    """What it runs on; without it: as the stable version's, or else CPU."""
    scale_to_zero: bool = False
    """A version that sleeps cannot be gone back to at once."""
    environment: dict[str, str] | Literal["none"] | None = None
    """Variables of every version; secrets as `{{secrets/scope/key}}`."""
    others_environment: Literal["none"] | None = None
    """States that other models' entities on the endpoint have no variables in plain text."""
    instance_profile: str | None = None
    """The ARN of the AWS instance profile that the model reads data with."""
    usage_tracking: bool = False
    """Switched on where it is stated, also on an endpoint that was found. Off: Databricks counts no
    usage of custom models there, and refuses it for agents."""

    @model_validator(mode="before")
    @classmethod
    def _for_custom_models(cls, value: object) -> object:
        """What the API has beside these is for other kinds of models, or has another name here."""
        for key in value if isinstance(value, Mapping) else ():
            if key in _OTHERWISE:
                raise refusal((key,), _OTHERWISE[key])
        return value

    @field_validator("environment")
    @classmethod
    def _readable(cls, environment: dict[str, str] | str | None) -> dict[str, str] | str | None:
        """Values are never told: what is wrong is told of their names."""
        for name, value in environment.items() if isinstance(environment, dict) else ():
            if not VARIABLE.fullmatch(name):
                raise refusal((name,), "name a variable with letters, digits and _")
            if "{{" in value and not SECRET.fullmatch(value):
                told = "write a secret as {{secrets/SCOPE/KEY}}, and nothing beside it"
                raise refusal((name,), told)
        return environment

    @field_validator("instance_profile")
    @classmethod
    def _arn(cls, arn: str | None) -> str | None:
        if arn is not None and not PROFILE.fullmatch(arn):
            raise ValueError("write the profile's ARN: arn:aws:iam::ACCOUNT:instance-profile/NAME")
        return arn

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        low, high = self.min_concurrency, self.max_concurrency
        if self.workload_size and (low is not None or high is not None):
            raise ValueError("say workload_size, or min_concurrency and max_concurrency, not both")
        if (low is None) != (high is None):
            raise ValueError("min_concurrency and max_concurrency go together")
        if low is not None and high is not None and low > high:
            raise ValueError(f"min_concurrency is {low}, above max_concurrency, which is {high}")
        return self

    @property
    def size(self) -> Size | None:
        """The size that is stated; None where none is, and a version is sized as stable."""
        sized = self.max_concurrency is not None
        if not sized and self.workload_size is None and self.workload_type is None:
            return None
        return Size(
            workload_size=None if sized else self.workload_size or "Small",
            min_concurrency=self.min_concurrency,
            max_concurrency=self.max_concurrency,
            workload_type=self.workload_type or CPU,
            scale_to_zero=self.scale_to_zero,
        )

    @property
    def variables(self) -> Variables:
        """What may be told of the variables: their names, and whether they are the same."""
        told = self.environment if isinstance(self.environment, dict) else {}
        text = json.dumps(sorted(told.items()))
        digest = sha256(text.encode()).hexdigest()[:DIGEST_LENGTH] if told else ""
        return Variables(tuple(sorted(told)), digest)


class PermissionSettings(Strict):
    """Who may do what with an endpoint that Headgate creates."""

    group: str | None = Field(default=None, min_length=1)
    """One of the three holders."""
    user: str | None = Field(default=None, min_length=1)
    """By e-mail address."""
    service_principal: str | None = Field(default=None, min_length=1)
    """By application id."""
    level: Literal["CAN_QUERY", "CAN_VIEW", "CAN_MANAGE"]
    """What the holder may do."""

    @model_validator(mode="after")
    def _one_holder(self) -> Self:
        holders = [self.group, self.user, self.service_principal]
        if sum(one is not None for one in holders) != 1:
            raise ValueError("name one of group, user and service_principal")
        return self

    @property
    def grant(self) -> Grant:
        """As the states have it."""
        named = {"group": self.group, "user": self.user}
        named["service_principal"] = self.service_principal
        kind, name = next((kind, name) for kind, name in named.items() if name is not None)
        return Grant(kind, name, self.level)


class StagingSettings(Strict):
    """An endpoint on which a version is tested first: created for it, and removed after.

    It is asked a few questions as soon as it is ready, and may sleep if nobody removes it.
    """

    endpoint: str | None = None
    """None: the application's endpoint and `-staging`, in the platform's length."""
    workload_size: Literal["Small", "Medium", "Large"] = "Small"
    """Of the staging endpoint."""
    scale_to_zero: bool = True
    """It costs nothing while it sleeps."""

    @field_validator("endpoint")
    @classmethod
    def _name(cls, name: str | None) -> str | None:
        if name is not None and not NAME.match(name):
            raise ValueError("use 1 to 63 letters, digits, - and _")
        return name

    def name(self, endpoint: str) -> str:
        """The staging endpoint of an application's endpoint."""
        return self.endpoint or endpoint[: NAME_LENGTH - len(STAGING)] + STAGING


class TableSettings(Strict):
    """Where the AI Gateway inference table is written, of a new endpoint or one without it."""

    catalog: Part
    """The table's catalog."""
    schema_name: Part = Field(alias="schema")
    """The table's schema."""
    prefix: Part | None = None
    """The table is `<prefix>_payload`; without it, the endpoint's name stands there."""
