"""The handbook's chatbot: BM25 retrieval over word stems and titles, and an extractive answer."""

import json
import math
import random
import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd  # type: ignore[import-untyped]
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

SOURCES = 3
TITLE_WEIGHT = 2
SENTENCES = 3
NOT_FOUND = "The handbook does not say."
WAIT_S = 0.02
"""Mean wait until an answer begins: mostly short and sometimes long, as a language model's is."""
TOKEN_S = 0.0006
"""What each token of an answer takes from then on."""

WORD = re.compile(r"[a-z0-9_]+")
TOKEN = re.compile(r"\w+|[^\w\s]")
SENTENCE_END = re.compile(r"(?<=[.?!])\s+")
STOP_WORDS = frozenset(
    WORD.findall(
        "a an and are as at be by can do does for from has have how i if in is it its me my of "
        "on or our should that the their they this to we what when where which who why will "
        "with you"
    )
)
SUFFIXES = ("ing", "ed", "es", "s")
SHORTEST_STEM = 3


@dataclass(frozen=True)
class Passage:
    """One passage of the handbook."""

    id: str
    title: str
    text: str


def stem(word: str) -> str:
    """Cut off a word's ending, so that "tables" finds "table" and "scaling" finds "scale"."""
    for suffix in SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= SHORTEST_STEM:
            word = word.removesuffix(suffix)
            break
    return word.removesuffix("e") if len(word) > SHORTEST_STEM else word


def terms(text: str) -> list[str]:
    """Split a text into the stems that retrieval looks at."""
    return [stem(word) for word in WORD.findall(text.lower()) if word not in STOP_WORDS]


class Index:
    """An inverted index with BM25 weights, computed once when the model is loaded."""

    def __init__(self, passages: list[Passage], k1: float = 1.2, b: float = 0.75) -> None:
        self.passages = passages
        # A title says what its passage is about: each of its words counts more than once.
        counts = [
            Counter(terms(passage.text) + TITLE_WEIGHT * terms(passage.title))
            for passage in passages
        ]
        lengths = [count.total() for count in counts]
        mean = sum(lengths) / len(lengths)
        found_in = Counter(word for count in counts for word in count)
        self.idf = {
            word: math.log(1 + (len(passages) - n + 0.5) / (n + 0.5))
            for word, n in found_in.items()
        }
        self.postings: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for at, (count, length) in enumerate(zip(counts, lengths, strict=True)):
            for word, n in count.items():
                saturation = n * (k1 + 1) / (n + k1 * (1 - b + b * length / mean))
                self.postings[word].append((at, self.idf[word] * saturation))

    def search(self, query: str, limit: int) -> list[Passage]:
        """Find the best passages, best first; one that shares no word is never found."""
        scores: dict[int, float] = defaultdict(float)
        for word in set(terms(query)):
            for at, weight in self.postings.get(word, ()):
                scores[at] += weight
        best = sorted(scores, key=lambda at: (-scores[at], at))[:limit]
        return [self.passages[at] for at in best]

    def overlap(self, query: str, sentence: str) -> float:
        """Weigh how much of the question a sentence takes up, rare words counting more."""
        shared = set(terms(query)) & set(terms(sentence))
        return sum(self.idf.get(word, 0.0) for word in shared)


def tokens(texts: Iterable[str]) -> int:
    """Count the tokens of texts, a token being a word or a punctuation mark."""
    return sum(len(TOKEN.findall(text)) for text in texts)


class Chatbot(PythonModel):
    """Answers each question with sentences of the passages that it found, and names them."""

    index: Index

    def load_context(self, context: PythonModelContext) -> None:
        """Read the handbook that was logged with the model."""
        lines = Path(context.artifacts["corpus"]).read_text(encoding="utf-8").splitlines()
        self.index = Index([Passage(**json.loads(line)) for line in lines])

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002 - MLflow's interface
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,  # noqa: ARG002 - MLflow's interface
    ) -> pd.DataFrame:
        """Answer each row of the column `query`."""
        return pd.DataFrame([self.write(self.answer(query)) for query in model_input["query"]])

    def answer(self, query: str) -> dict[str, Any]:
        """Answer one question, with the ids of the sources and the cost in tokens."""
        found = self.index.search(query, SOURCES)
        answer = self.extract(query, found) if found else NOT_FOUND
        return {
            "answer": answer,
            "sources": [passage.id for passage in found],
            "prompt_tokens": tokens([query, *(passage.text for passage in found)]),
            "completion_tokens": tokens([answer]),
        }

    def write(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Take the time that a language model would need for as long an answer."""
        time.sleep(random.expovariate(1 / WAIT_S) + TOKEN_S * answer["completion_tokens"])
        return answer

    def extract(self, query: str, found: list[Passage]) -> str:
        """Join the sentences that answer best, in the order in which they were found."""
        weighed = [
            # The further down its passage was found, the less a sentence counts.
            (self.index.overlap(query, sentence) / rank, sentence)
            for rank, passage in enumerate(found, start=1)
            for sentence in SENTENCE_END.split(passage.text)
        ]
        best = sorted(range(len(weighed)), key=lambda at: (-weighed[at][0], at))[:SENTENCES]
        return " ".join(weighed[at][1] for at in sorted(best))


set_model(Chatbot())
