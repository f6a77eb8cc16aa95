"""The golden queries: what every version must answer before a user meets it.

They stand in the demo's own Headgate configuration; the team measures its accuracy by them too.
"""

from pathlib import Path
from typing import Any

import yaml

CONFIGURATION = Path(__file__).with_name("headgate.yaml")
GOLDEN_QUERIES: list[dict[str, Any]] = yaml.safe_load(CONFIGURATION.read_text(encoding="utf-8"))[
    "applications"
]["rag-chatbot"]["tests"]


def passes(prediction: dict[str, Any], expect: dict[str, Any]) -> bool:
    """Check that an answer holds every required word and names enough sources."""
    words = all(word in prediction["answer"] for word in expect["answer_contains"])
    return words and len(prediction["sources"]) >= int(expect["min_sources"])
