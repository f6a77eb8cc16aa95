"""Addresses: how `HEADGATE_HTTP` is read, where this machine finds it, and what is this machine.

The standard library alone: a health check starts a process every half minute.
"""

from ipaddress import ip_address

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


def is_loopback(host: str) -> bool:
    """Whether a host, an IPv6 one without its brackets, is this machine and nobody else."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def names_loopback(header: str) -> bool:
    """Whether a request's `Host`, at whatever port, is a name of this machine's own.

    A tunnel has another port; a name that another site had point here is none.
    """
    name, _, port = header.rpartition(":")
    host = name if name and port.isdigit() else header
    return is_loopback(host.removeprefix("[").removesuffix("]"))


def nearby(host: str) -> str:
    """How this machine reaches a daemon that listens on a host."""
    return ANYWHERE.get(host, host)
