"""What all sections share: unknown keys are refused, and names have an alphabet."""

import re

from pydantic import (
    BaseModel,
    ConfigDict,
)

NAME = re.compile(r"[A-Za-z0-9_-]{1,63}\Z")
"""Databricks' alphabet and length for endpoints; ours for applications."""


class Strict(BaseModel):
    """Every key is known, or refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)
