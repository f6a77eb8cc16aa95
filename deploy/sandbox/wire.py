"""What every route shares: Databricks' error bodies, JSON responses, and reading a request."""

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

Json = dict[str, Any]


class ApiError(Exception):
    """A refusal in Databricks' shape: an HTTP status, an `error_code` and a `message`."""

    def __init__(self, status: int, error_code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.error_code = error_code
        self.message = message

    def response(self) -> Response:
        """The body that the SDK and MLflow read the error from."""
        body = {"error_code": self.error_code, "message": self.message}
        return JSONResponse(body, status_code=self.status)


def invalid(message: str) -> ApiError:
    """A request that the platform refuses: 400 INVALID_PARAMETER_VALUE."""
    return ApiError(400, "INVALID_PARAMETER_VALUE", message)


def missing(message: str) -> ApiError:
    """Something that is not there: 404 RESOURCE_DOES_NOT_EXIST."""
    return ApiError(404, "RESOURCE_DOES_NOT_EXIST", message)


def not_modelled(what: str) -> ApiError:
    """Something that the sandbox does not emulate: 501, never a false success."""
    return ApiError(501, "NOT_IMPLEMENTED", f"the sandbox does not model {what}")


async def read_json(request: Request) -> Json:
    """The request's JSON object; an empty body is an empty object."""
    body = await request.body()
    if not body:
        return {}
    try:
        value = json.loads(body)
    except ValueError as error:
        raise ApiError(400, "MALFORMED_REQUEST", f"the body is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ApiError(400, "MALFORMED_REQUEST", "the body must be a JSON object")
    return value


def reply(body: Json | list[Any] | None = None, status: int = 200) -> Response:
    """A JSON response; nothing is the empty object, as Databricks answers."""
    return JSONResponse({} if body is None else body, status_code=status)
