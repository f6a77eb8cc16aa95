"""Where the daemon listens: how `HEADGATE_HTTP` is read, and where this machine finds it.

The standard library alone: a health check starts a process every half minute.
"""

USUAL = "127.0.0.1:8350"
HIGHEST_PORT = 65535
ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where a daemon may listen
"""Addresses to listen on that nobody can be reached at, and this machine's own."""


def host_and_port(address: str) -> tuple[str, int] | None:
    """The two parts of an address, an IPv6 host without its brackets; None if it is none."""
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or int(port) > HIGHEST_PORT:
        return None
    return host, int(port)


def nearby(host: str) -> str:
    """How this machine reaches a daemon that listens on a host."""
    return ANYWHERE.get(host, host)
