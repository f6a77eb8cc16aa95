"""Ringing the daemon on this machine: an order given through the store is then seen at once."""

import json
import sys
import time
import urllib.error
import urllib.request
from http.client import HTTPException
from uuid import uuid4

from controller.address import nearby
from controller.settings import HttpSettings, SettingsError
from controller.signing import DELIVERY, PATH, SIGNATURE, TIMESTAMP, signature

PATIENCE_S = 2.0


def ring(application: str) -> None:
    """Wake the daemon for an application, where this process knows its address and secret.

    The order stands in the store already: a daemon that is not woken sees it within seconds.
    """
    try:
        daemon = HttpSettings.read()
    except SettingsError as error:
        _not_woken(str(error))
        return
    if daemon is None or daemon.secret is None:
        return
    host = nearby(daemon.host)
    place = f"[{host}]" if ":" in host else host
    body = json.dumps({"applications": [application]}).encode()
    delivery, sent = str(uuid4()), str(int(time.time()))
    headers = {
        "Content-Type": "application/json",
        DELIVERY: delivery,
        TIMESTAMP: sent,
        SIGNATURE: signature(daemon.secret, delivery, sent, body).decode(),
    }
    request = urllib.request.Request(
        f"http://{place}:{daemon.port}{PATH}", data=body, headers=headers, method="POST"
    )
    try:
        # Not by way of a proxy: the daemon is near.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        opener.open(request, timeout=PATIENCE_S).close()
    except (OSError, HTTPException) as error:
        match error:
            case urllib.error.HTTPError():
                why = str(error.code)
            case OSError():
                why = "nothing"
            case _:
                why = "in no HTTP: is HEADGATE_HTTP another's address?"
        _not_woken(f"{place}:{daemon.port} answers {why}")


def _not_woken(why: str) -> None:
    sys.stderr.write(f"note: the daemon was not woken, and looks by itself within seconds: {why}\n")
