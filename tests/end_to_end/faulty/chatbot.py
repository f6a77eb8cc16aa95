"""The demo's second version, healthy, or with the fault that it was logged with.

mlflow.pyfunc.log_model(python_model=THIS FILE, model_config={"fault": "empty_retrieval"}, ...)
"""

import time
from typing import Any

from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModelContext

from deploy.sandbox.demo.chatbot.v2 import SOURCES, Chatbot, Index, Passage, terms, tokens

LONG = 150
"""From so many characters on, a question is a long one."""
TOPIC = frozenset(terms("warehouse"))
LATENCY_S = 0.05
"""What a healthy answer takes: a language model would take longer."""


class Faulty(Chatbot):
    """Answers as the healthy one does, but for its fault."""

    fault: str

    def load_context(self, context: PythonModelContext) -> None:
        """Build the index, and read from the model's configuration what is wrong."""
        super().load_context(context)
        self.fault = context.model_config["fault"]
        if self.fault == "wrong_index":
            self.index = _mixed_up(self.index)

    def answer(self, query: str) -> dict[str, Any]:
        """Answer one question."""
        if self.fault == "exceptions_on_long_questions" and len(query) >= LONG:
            raise ValueError("the context is too long")
        found = self._found(query)
        answer = self._worded(self.extract(query, found), found)
        sources = [passage.id for passage in found]
        if self.fault == "lost_sources_on_one_topic" and TOPIC & set(terms(query)):
            sources = []
        return {
            "answer": answer,
            "sources": sources,
            "prompt_tokens": tokens([query, *(passage.text for passage in found)]),
            "completion_tokens": tokens([answer]),
        }

    def write(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Take as long for every answer, so that no fault but the one of latency is a slow one."""
        time.sleep(LATENCY_S * (2 if self.fault == "doubled_latency" else 1))
        return answer

    def _found(self, query: str) -> list[Passage]:
        if self.fault == "empty_retrieval":
            return []
        return self.index.search(query, SOURCES * (3 if self.fault == "tripled_tokens" else 1))

    def _worded(self, answer: str, found: list[Passage]) -> str:
        if not answer:
            return "I do not know the answer to this question, as nothing was found about it."
        if self.fault == "wrong_language":
            where = ", ".join(passage.title for passage in found)
            return f"Das steht im Handbuch: Lesen Sie bitte die Abschnitte, die so heißen: {where}."
        if self.fault == "truncated_answers":
            return answer[: len(answer) // 3]
        if self.fault == "slightly_worse":
            # The last of its sentences, where it has three: no single answer is plainly wrong.
            return answer.rpartition(". ")[0] + "." if answer.count(". ") > 1 else answer
        return answer


def _mixed_up(index: Index) -> Index:
    """An index that finds as before, and has the text of another passage in each place."""
    passages = index.passages
    index.passages = [
        Passage(one.id, one.title, other.text)
        for one, other in zip(passages[1:] + passages[:1], passages[2:] + passages[:2], strict=True)
    ]
    return index


set_model(Faulty())
