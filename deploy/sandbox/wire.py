"""What every route shares: Databricks' error bodies, JSON responses, and reading a request."""

import json
from typing import Any

from starlette.requests import ClientDisconnect, Request
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


def exists(message: str) -> ApiError:
    """Something that is already there: 409 RESOURCE_ALREADY_EXISTS."""
    return ApiError(409, "RESOURCE_ALREADY_EXISTS", message)


def no_such_api(method: str, path: str) -> ApiError:
    """A route that the platform lacks, in the JSON on which MLflow falls back to an older one."""
    route = "/" + path.removeprefix("/api/").partition("/")[2]
    return ApiError(404, "ENDPOINT_NOT_FOUND", f"No API found for '{method} {route}'")


def not_modelled(what: str) -> ApiError:
    """Something that the sandbox does not emulate: 501, never a false success."""
    return ApiError(501, "NOT_IMPLEMENTED", f"the sandbox does not model {what}")


async def read_json(request: Request) -> Json:
    """The request's JSON object; an empty body is an empty object."""
    try:
        body = await request.body()
    except ClientDisconnect as error:
        raise ApiError(400, "MALFORMED_REQUEST", "the request was cut off") from error
    if not body:
        return {}
    try:
        value = json.loads(body)
    except ValueError as error:
        raise ApiError(400, "MALFORMED_REQUEST", f"the body is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ApiError(400, "MALFORMED_REQUEST", "the body must be a JSON object")
    return value


async def read_arguments(request: Request) -> Json:
    """The request's arguments: its query, overlaid by its JSON body.

    MLflow sends the arguments of a GET in the query and those of a DELETE in the body.
    """
    return {**request.query_params, **await read_json(request)}


def text(arguments: Json, key: str) -> str:
    """The argument of this name, which the request must give as a text that is not empty."""
    value = arguments.get(key)
    if not isinstance(value, str) or not value:
        raise invalid(f"Missing value for required parameter '{key}'")
    return value


def whole(arguments: Json, key: str, default: int) -> int:
    """The argument of this name as a whole number of 0 or more; absent or empty is the default."""
    value = arguments.get(key)
    if value is None or value == "":
        return default
    try:
        number = int(value)
    except (TypeError, ValueError) as error:
        raise invalid(f"The parameter '{key}' must be a whole number, not {value!r}") from error
    if number < 0:
        raise invalid(f"The parameter '{key}' must not be negative")
    return number


def principal(request: Request) -> str:
    """Who calls: the user name or application id that `app.Gate` put on the request."""
    return str(request.scope["principal"])


def reply(body: Json | list[Any] | None = None, status: int = 200) -> Response:
    """A JSON response; nothing is the empty object, as Databricks answers."""
    return JSONResponse({} if body is None else body, status_code=status)
