"""A chat model that says what it was told, with the signature that MLflow gives such models."""

from typing import Any

from mlflow.models import set_model
from mlflow.pyfunc.model import ChatModel
from mlflow.types.llm import ChatChoice, ChatCompletionResponse, ChatMessage


class Echo(ChatModel):
    """Says what it was told."""

    def predict(  # type: ignore[override]
        self,
        context: Any,  # noqa: ANN401, ARG002 - MLflow's interface
        messages: list[ChatMessage],
        params: Any,  # noqa: ANN401, ARG002
    ) -> ChatCompletionResponse:
        """Answer the last message."""
        said = ChatMessage(role="assistant", content=f"you said {messages[-1].content}")
        return ChatCompletionResponse(choices=[ChatChoice(message=said)])


set_model(Echo())
