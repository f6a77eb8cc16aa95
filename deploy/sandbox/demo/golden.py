"""The golden queries: what every version must answer before a user meets it."""

from typing import Any

GOLDEN_QUERIES: list[dict[str, Any]] = [
    {
        "query": "What are the key features of Delta Lake?",
        "expect": {"answer_contains": ["ACID"], "min_sources": 1},
    },
    {
        "query": "How long are old files kept before VACUUM deletes them?",
        "expect": {"answer_contains": ["seven days"], "min_sources": 1},
    },
    {
        "query": "How do I query an older version of a table?",
        "expect": {"answer_contains": ["TIMESTAMP AS OF"], "min_sources": 1},
    },
    {
        "query": "What is the difference between a shallow clone and a deep clone?",
        "expect": {"answer_contains": ["metadata"], "min_sources": 1},
    },
    {
        "query": "How do I roll back a model?",
        "expect": {"answer_contains": ["previous version"], "min_sources": 1},
    },
    {
        "query": "Can a row of an inference table arrive twice?",
        "expect": {"answer_contains": ["arrive late"], "min_sources": 1},
    },
    {
        "query": "How quickly must the person on call acknowledge a page?",
        "expect": {"answer_contains": ["fifteen minutes"], "min_sources": 1},
    },
    {
        "query": "Which tags must a model version carry?",
        "expect": {"answer_contains": ["git_sha"], "min_sources": 1},
    },
]


def passes(prediction: dict[str, Any], expect: dict[str, Any]) -> bool:
    """Check that an answer holds every required word and names enough sources."""
    words = all(word in prediction["answer"] for word in expect["answer_contains"])
    return words and len(prediction["sources"]) >= int(expect["min_sources"])
