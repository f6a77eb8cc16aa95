"""The small subset of JSONPath that the configuration speaks: `$.predictions[0].answer`."""

import re
from dataclasses import dataclass
from typing import Any

_STEP = re.compile(r"\.([A-Za-z_][A-Za-z0-9_-]*)|\[(0|[1-9][0-9]*)\]|\['([^'\\]+)'\]")


class Missing:
    """Nothing is there; null would be a value."""


MISSING = Missing()


@dataclass(frozen=True, slots=True)
class JsonPath:
    """A path of names and indexes from the root of a document to one value."""

    text: str
    steps: tuple[str | int, ...]

    @classmethod
    def parse(cls, text: str) -> "JsonPath":
        """Read `$`, then `.name`, `['name']` and `[index]`; ValueError says where that fails."""
        if not text.startswith("$"):
            raise ValueError(f"{text!r} is not a path: it must begin with $")
        steps: list[str | int] = []
        at = 1
        while at < len(text):
            step = _STEP.match(text, at)
            if step is None:
                raise ValueError(
                    f"{text!r} is not a path that Headgate reads: .name, ['name'] or [index] "
                    f"is expected at character {at + 1}"
                )
            name, index, quoted = step.groups()
            steps.append(int(index) if index is not None else name or quoted)
            at = step.end()
        return cls(text, tuple(steps))

    def find(self, document: object) -> Any | Missing:  # noqa: ANN401 - JSON is anything
        """The value at the path, or MISSING."""
        value = document
        for step in self.steps:
            if isinstance(step, int):
                if not isinstance(value, list) or step >= len(value):
                    return MISSING
                value = value[step]
            else:
                if not isinstance(value, dict) or step not in value:
                    return MISSING
                value = value[step]
        return value

    def document(self, value: object) -> object:
        """The smallest document that has a value at the path; ValueError past the first index."""
        found = value
        for step in reversed(self.steps):
            if isinstance(step, int):
                if step:
                    raise ValueError(f"{self.text!r}: put it at the first place, [0]")
                found = [found]
            else:
                found = {step: found}
        return found

    def __str__(self) -> str:
        return self.text


def found(path: str | None, document: object) -> Any | Missing:  # noqa: ANN401 - JSON is anything
    """The value at a path as it is written down; MISSING also where none is."""
    return MISSING if path is None else JsonPath.parse(path).find(document)
