"""A Responses agent that says what it was told, with the signature that MLflow gives to such."""

from mlflow.models import set_model
from mlflow.pyfunc.model import ResponsesAgent
from mlflow.types.responses import ResponsesAgentRequest, ResponsesAgentResponse
from mlflow.types.responses_helpers import Message, OutputItem


class Echo(ResponsesAgent):
    """Says what it was told."""

    def predict(  # type: ignore[override]
        self, request: ResponsesAgentRequest
    ) -> ResponsesAgentResponse:
        """Answer the last message."""
        message = request.input[-1]
        assert isinstance(message, Message)
        said = self.create_text_output_item(text=f"you said {message.content}", id="1")
        return ResponsesAgentResponse(output=[OutputItem(**said)])


set_model(Echo())
