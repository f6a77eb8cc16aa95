"""The environment variables that set a process up: what each means, and which one was meant.

Whoever misspells one gets its default, which nobody would notice: hence `misspelt`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from controller.places import near

PREFIX = "HEADGATE_"
ALMOST = 0.9
"""How alike two whole names are, of which one is probably the other misspelt; others have names of
their own in an environment, so they must be nearly the same."""


@dataclass(frozen=True)
class Variable:
    """One setting of the process."""

    default: str
    """As it would be written; empty where there is none."""
    meaning: str


VARIABLES: Mapping[str, Variable] = {
    "HEADGATE_STORE": Variable(
        "sqlite:///headgate.db",
        "The record: a file, or `postgresql://user@host/database` for replicas that share it, by "
        "TLS and with the host's name proven (`sslrootcert=FILE` for an authority of your own) "
        "unless it is on this machine. `?password_file=FILE` is read for each connection, for "
        "passwords that are renewed; `?lakebase=NAME` asks the workspace for a token of this "
        "instance, or of `projects/P/branches/B/endpoints/E`, with the service principal's client "
        "id as the user. What a URL leaves out is taken from PGHOST, PGUSER and their like.",
    ),
    "HEADGATE_POLL": Variable(
        "30s",
        "How often the daemon looks at each endpoint; 100ms at least. Above 1m, what is counted "
        "between a step of its own and the next look takes part in no verdict: nobody knows when "
        "in that time the users moved.",
    ),
    "HEADGATE_LEASE": Variable(
        "30s",
        "After how long without a sign of life another replica takes over; 3s at least. For "
        "PostgreSQL only.",
    ),
    "HEADGATE_LOG": Variable(
        "auto", "`json`, `text`, or `auto`: JSON lines unless it goes to a terminal."
    ),
    "HEADGATE_HTTP": Variable(
        "127.0.0.1:8350",
        "Where the daemon listens, or `off`. Other addresses than this machine's own need "
        "HEADGATE_TOKEN_FILE.",
    ),
    "HEADGATE_URL": Variable(
        "",
        "The daemon that orders go to, and that is read from, instead of the store: "
        "`https://host`, or `http://127.0.0.1:8350` on this machine. It wants the token of "
        "HEADGATE_TOKEN_FILE.",
    ),
    "HEADGATE_TOKEN_FILE": Variable(
        "", "A file with the token that whoever asks over HTTP must show; for its owner only."
    ),
    "HEADGATE_WEBHOOK_SECRET_FILE": Variable(
        "", "A file with the secret that whoever rings the doorbell signs with."
    ),
    "HEADGATE_NOTIFY_FILE": Variable(
        "",
        "A YAML file that names who is told of what happens, as `receivers: {NAME: {url: one of "
        "apprise's, severity: warning, applications: [APP]}}`; for its owner only.",
    ),
    "DATABRICKS_WAREHOUSE_ID": Variable(
        "", "The SQL warehouse that counts each version's requests; the daemon needs it."
    ),
    "DATABRICKS_HOST": Variable(
        "",
        "The workspace. It, and the credentials, are those of Databricks' unified authentication: "
        "DATABRICKS_CLIENT_ID with DATABRICKS_CLIENT_SECRET, DATABRICKS_TOKEN, or a profile. It "
        "begins with https://, unless it is a sandbox on this machine.",
    ),
    "HEADGATE_ALLOW_PAT": Variable(
        "no",
        "`yes`: the daemon may sign in as a person, with a personal access token or `databricks "
        "auth login`. Otherwise it runs as a service principal, or on a sandbox on this machine.",
    ),
    "HEADGATE_ALLOW_HTTP": Variable(
        "no",
        "`yes`: commands may show their token to a daemon on another machine over plain http, as "
        "between the pods of a cluster. Otherwise HEADGATE_URL begins with https://.",
    ),
}
"""In the order in which the reference has them."""


def misspelt(environ: Mapping[str, str]) -> Iterator[str]:
    """A sentence for each variable that is set, means nothing, and almost names one that does.

    Others with our prefix are let be: Kubernetes sets HEADGATE_PORT for a service of that name.
    """
    unset = [name for name in VARIABLES if name not in environ]
    ours = [name.removeprefix(PREFIX) for name in unset if name.startswith(PREFIX)]
    for name in sorted(environ.keys() - VARIABLES.keys()):
        if name.startswith(PREFIX):
            ending = near(name.removeprefix(PREFIX), ours)
            meant = ending and PREFIX + ending
        else:
            meant = near(name, unset, alike=ALMOST)
        if meant:
            yield f"{name} is set, and means nothing to Headgate: did you mean {meant}?"
