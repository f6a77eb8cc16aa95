"""No answer of a server sends us elsewhere: a redirect is an error, to the SDK and to MLflow too.

Measured with requests 2.32, databricks-sdk 0.156 and mlflow 3.17 against a server that redirects
to another (`tests/contract/test_redirects.py`): `requests` leaves the Authorization header out
there, but sends the body of a 307 or 308 again, and with it an endpoint's environment, or a
client's secret where it is a parameter. The SDK and MLflow make sessions of their own, so that it
is decided here for the whole process.
"""

from typing import Any

import requests

_resolve = requests.Session.resolve_redirects


def _refuse(
    self: requests.Session,
    response: requests.Response,
    *arguments: Any,  # noqa: ANN401 - as requests hands them on
    **options: Any,  # noqa: ANN401
) -> Any:  # noqa: ANN401 - as `requests` has it
    """What follows a response: nothing. Whoever asked not to follow still learns where it leads."""
    if options.get("yield_requests") or not self.get_redirect_target(response):
        return _resolve(self, response, *arguments, **options)
    response.close()
    raise requests.TooManyRedirects("redirects are not followed", response=response)


def refuse_redirects() -> None:
    """From now on, for every session of the process; once is enough, and twice is the same."""
    requests.Session.resolve_redirects = _refuse  # type: ignore[method-assign, assignment]
