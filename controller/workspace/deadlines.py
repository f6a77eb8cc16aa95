"""One deadline for the whole of a call: connecting, sending, headers and body together.

Measured with requests 2.34, urllib3 2.8 and databricks-sdk 0.156
(`tests/contract/test_deadlines.py`): `timeout=10` is ten seconds for each address that is tried,
and ten for each read, so that an answer of one byte in nine seconds never ends, and the pass that
asked for it neither. The SDK and MLflow make sessions of their own, so that it is decided here for
the whole process.

A timeout that is given to `requests` is from now on the time until the answer is there in full. It
is kept without threads: a connection knows until when it may go on, and each operation on its
socket is given what is left until then. Nothing of a request is sent once that is over. Looking up
an address cannot be interrupted: the resolver's own limits hold, and the call ends right after.
"""

import http.client
import io
import math
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
)
from urllib3.util.connection import allowed_gai_family

from controller.steady import steady

CALL_S = 10.0
"""The deadline of one call to the workspace, from connecting to the end of the answer."""
LEAST_S = 0.001
"""The timeout where nothing is left: none at all would mean not to wait, which is another error."""

_until: ContextVar[float | None] = ContextVar("until", default=None)


@contextmanager
def before(moment: float) -> Iterator[None]:
    """Within, every call of this thread ends at that moment of the steady clock at the latest.

    Whatever is to be sent after it is not sent, however long the process was stopped before. A
    moment that never comes sets no end.
    """
    token = _until.set(moment if moment < math.inf else None)
    try:
        yield
    finally:
        _until.reset(token)


def at_most(seconds: float) -> float:
    """So many seconds, or what is left until the moment `before` which all has to end."""
    moment = _until.get()
    return seconds if moment is None else max(0.0, min(seconds, moment - steady()))


def keep_deadlines() -> None:
    """From now on, for every session of the process; once is enough, and twice is the same."""
    HTTPAdapter.send = _send  # type: ignore[method-assign]
    HTTPConnectionPool.ConnectionCls = _OnTime
    HTTPSConnectionPool.ConnectionCls = _SecureConnection


_as_requests_sends = HTTPAdapter.send


def _send(  # noqa: PLR0913, PLR0917 - as requests has it
    self: HTTPAdapter,
    request: requests.PreparedRequest,
    stream: bool = False,  # noqa: FBT001, FBT002
    timeout: Any = None,  # noqa: ANN401
    verify: bool | str = True,  # noqa: FBT001, FBT002
    cert: Any = None,  # noqa: ANN401
    proxies: Mapping[str, str] | None = None,
) -> requests.Response:
    """Send and, unless it is for a stream, read the answer; `requests.Timeout` if it is late."""
    until = _end_of(timeout)
    if until is not None:
        if until <= steady():
            raise requests.ConnectTimeout("the time for it was over before it began")
        timeout = _Remaining(until)
    try:
        response = _as_requests_sends(self, request, stream, timeout, verify, cert, proxies)
        if not stream:
            # Read by whoever holds the response, it would break the connection instead.
            _ = response.content
    except requests.ConnectionError as error:
        if not isinstance(error, requests.Timeout) and _late(error):
            raise requests.ReadTimeout(error, request=request) from error
        raise
    return response


def _end_of(timeout: Any) -> float | None:  # noqa: ANN401 - as requests has it
    """The moment at which a call has to be over; None where nobody set one."""
    parts = timeout if isinstance(timeout, tuple) else (timeout,)
    seconds = sum(parts) if all(isinstance(one, int | float) for one in parts) else None
    own, all_of_it = None if seconds is None else steady() + seconds, _until.get()
    return min((one for one in (own, all_of_it) if one is not None), default=None)


def _late(error: BaseException) -> bool:
    """Whether time ran out on the wire, as requests and urllib3 wrap it."""
    inner = (one for one in error.args if isinstance(one, BaseException))
    return isinstance(error, TimeoutError | ReadTimeoutError) or any(map(_late, inner))


class _Remaining(Timeout):
    """What is left until a moment, whenever urllib3 asks; it may have waited for a connection."""

    def __init__(self, until: float) -> None:
        super().__init__()
        self._until = until

    def clone(self) -> "_Remaining":
        """Itself: urllib3 keeps the time of a call in a copy of its own."""
        return self

    def start_connect(self) -> float:
        """Nothing begins here: it began when the call did."""
        return steady()

    @property
    def connect_timeout(self) -> float:
        """Seconds."""
        return max(LEAST_S, self._until - steady())

    @property
    def read_timeout(self) -> float:
        """Seconds."""
        return self.connect_timeout


class _Response(http.client.HTTPResponse):
    """An answer all of which has to arrive within the timeout that its socket has to begin with."""

    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:  # noqa: ANN401
        super().__init__(sock, *arguments, **options)
        seconds = sock.gettimeout()
        if seconds is not None:
            raw = self.fp.detach()
            self.fp = io.BufferedReader(_Hurried(raw, sock, steady() + seconds))


class _Hurried(io.RawIOBase):
    """What arrives on a socket until a moment; `TimeoutError` from then on."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, until: float) -> None:
        self._raw, self._sock, self._until = raw, sock, until

    def readable(self) -> bool:
        """It is for nothing else."""
        return True

    def readinto(self, buffer: Any) -> int | None:  # noqa: ANN401 - as io has it
        """Wait for the next bytes, for as long as the whole answer has left."""
        left = self._until - steady()
        if left <= 0:
            raise TimeoutError("the answer is not there in full, and its time is over")
        self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        """The socket's own reader, too: the socket ends with the last of them."""
        self._raw.close()
        super().close()


class _OnTime(HTTPConnection):
    """A connection whose `timeout` is what is left of it, and not what it was at first."""

    response_class = _Response

    @property
    def timeout(self) -> float | None:
        """Seconds that are left for all of it; None: as long as it takes."""
        return None if self._until is None else max(LEAST_S, self._until - steady())

    @timeout.setter
    def timeout(self, seconds: float | None) -> None:
        self._until = None if seconds is None else steady() + seconds

    def _new_conn(self) -> socket.socket:
        """As urllib3 connects, but its addresses share the time: there, each has all of it."""
        name, last = self._dns_host, None
        try:
            for address in self._addresses():
                self._dns_host = address
                try:
                    made = super()._new_conn()
                except (ConnectTimeoutError, NewConnectionError) as error:
                    last = error
                    if self._over():
                        break
                    continue
                made.settimeout(self.timeout)
                return made
        finally:
            self._dns_host = name
        assert last is not None, "there is one address at least"
        raise last

    def _addresses(self) -> list[str]:
        """Of the host; its name alone, if it can be none: urllib3 has the words for that."""
        name = self._dns_host.strip("[]")
        try:
            found = socket.getaddrinfo(name, self.port, allowed_gai_family(), socket.SOCK_STREAM)
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        except UnicodeError:
            return [name]
        return list(dict.fromkeys(str(one[4][0]) for one in found))

    def _over(self) -> bool:
        return self._until is not None and self._until <= steady()

    def send(self, data: Any) -> None:  # noqa: ANN401 - bytes, a file or an iterable of bytes
        """As http.client sends, but nothing once the time is over."""
        if self.sock is None and self.auto_open:
            self.connect()
        if self._over():
            raise TimeoutError("the time for it is over")
        super().send(data)


class _SecureConnection(_OnTime, HTTPSConnection):
    """To https:// addresses."""
