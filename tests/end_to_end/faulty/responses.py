"""A Responses agent that says what it was told, with the signature that MLflow gives to such."""

from mlflow.models import set_model
from mlflow.pyfunc.model import ResponsesAgent
from mlflow.types.responses import ResponsesAgentRequest, ResponsesAgentResponse


class Echo(ResponsesAgent):
    """Says what it was told."""

    def predict(self, request: ResponsesAgentRequest) -> ResponsesAgentResponse:
        """Answer the last item."""
        said = f"you said {request.input[-1].content}"
        return ResponsesAgentResponse(output=[self.create_text_output_item(text=said, id="1")])


set_model(Echo())
