"""Ways to a PostgreSQL server that tests put before it: a password that is renewed, and TLS."""

import datetime as dt
import ipaddress
import secrets
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.controller.postgres import Postgres

USER = "renewed"
ITS_SESSIONS = f"FROM pg_stat_activity WHERE usename = '{USER}'"
SSL_REQUEST = struct.pack("!ii", 8, 80877103)
DAY = dt.timedelta(days=1)


@dataclass
class Renewing:
    """A database whose owner logs in by a password (SCRAM) that is renewed, and kept in a file."""

    server: Postgres
    database: str
    file: Path
    used: list[str] = field(default_factory=list)
    """Every password there ever was."""

    @property
    def url(self) -> str:
        """Where it is, and where its password is."""
        return f"{self.server.url(self.database, USER)}&password_file={quote(str(self.file))}"

    def renew(self, *, told_first: bool = True) -> threading.Thread:
        """Renew the password at two places, one after the other: the second is still to come."""
        password = secrets.token_urlsafe(24)
        self.used.append(password)
        steps = [self._tell, self._set] if told_first else [self._set, self._tell]
        steps[0](password)
        late = threading.Timer(0.1, steps[1], [password])
        late.start()
        return late

    def renewed(self) -> None:
        """Renew it at both places."""
        self.renew().join()

    def _tell(self, password: str) -> None:
        fresh = self.file.with_suffix(".fresh")
        fresh.touch(0o600)
        fresh.write_text(f"{password}\n")
        fresh.replace(self.file)

    def _set(self, password: str) -> None:
        self.server.ask(f"ALTER ROLE {USER} PASSWORD '{password}'")

    def connections(self) -> int:
        """How many its owner has open."""
        return int(str(self.server.ask(f"SELECT count(*) {ITS_SESSIONS}")[0][0]))

    def cut_off(self) -> None:
        """End all that its owner has open, as a server does with what is idle or old."""
        self.server.ask(f"SELECT pg_terminate_backend(pid, 5000) {ITS_SESSIONS}")


@contextmanager
def renewing(server: Postgres, folder: Path) -> Iterator[Renewing]:
    """An empty database with such an owner; the server asks nobody else for a password."""
    hba = Path(str(server.ask("SHOW hba_file")[0][0]))
    before = hba.read_text()
    name = server.empty()
    server.ask(f"CREATE ROLE {USER} LOGIN")
    server.ask(f"ALTER DATABASE {name} OWNER TO {USER}")
    hba.write_text(f"local all {USER} scram-sha-256\n{before}")
    server.ask("SELECT pg_reload_conf()")
    made = Renewing(server, name, folder / "password")
    made.renewed()
    try:
        yield made
    finally:
        hba.write_text(before)
        server.ask("SELECT pg_reload_conf()")
        server.ask(f"DROP DATABASE {name} WITH (FORCE)")
        server.ask(f"DROP ROLE {USER}")


def authority(folder: Path, host: str) -> tuple[Path, Path]:
    """A certificate for a host, signed by itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = dt.datetime.now(dt.UTC)
    called: x509.GeneralName = x509.DNSName(host)
    with suppress(ValueError):
        called = x509.IPAddress(ipaddress.ip_address(host))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + DAY)
        .add_extension(x509.SubjectAlternativeName([called]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / f"{host}.crt", folder / f"{host}.key"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files


class Tls:
    """A port that speaks PostgreSQL's TLS, in front of a server that was built without it."""

    def __init__(self, server: Postgres, certificate: tuple[Path, Path] | None) -> None:
        self._far = f"{server.socket}/.s.PGSQL.5432"
        self._context = None
        if certificate is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(*certificate)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.first: list[bytes] = []
        """What came first on each connection, as anybody on the way could read it."""
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        """Take no more connections; those there are end with their clients."""
        self._socket.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        self._socket.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._socket.accept()
                self._threads.append(threading.Thread(target=self._serve, args=(near,)))
                self._threads[-1].start()

    def _serve(self, near: socket.socket) -> None:
        with near, suppress(OSError):
            self.first.append(near.recv(8))
            if self.first[-1] != SSL_REQUEST:
                return
            if self._context is None:
                near.sendall(b"N")
                self.first.append(near.recv(8))
                return
            near.sendall(b"S")
            with (
                self._context.wrap_socket(near, server_side=True) as inside,
                socket.socket(socket.AF_UNIX) as far,
            ):
                far.connect(self._far)
                back = threading.Thread(target=_pour, args=(far, inside))
                back.start()
                _pour(inside, far)
                back.join(10)


def _pour(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
