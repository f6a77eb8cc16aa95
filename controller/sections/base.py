"""What all sections share: unknown keys are refused, and names have an alphabet."""

import re
from collections.abc import Hashable
from typing import Any, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
)

NAME = re.compile(r"[A-Za-z0-9_-]{1,63}\Z")
"""Databricks' alphabet and length for endpoints; ours for applications."""


class Strict(BaseModel):
    """Every key is known, or refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Value = TypeVar("Value", bound=Hashable)
_FIRST: dict[Hashable, Any] = {}


def interned(value: Value) -> Value:
    """The first value that was equal to this one: thousands of applications differ in little."""
    first: Value = _FIRST.setdefault(value, value)
    return first
