"""Rings Headgate's doorbell: one task of a Databricks job that model updates trigger.

As a Python script task, with the parameters
`["https://headgate.example.com/doorbell", "{{job.trigger.model.updates}}"]`. The secret is in the
environment variable `HEADGATE_WEBHOOK_SECRET`, or in the secret scope `headgate` as
`webhook-secret`. Databricks cuts a long list of updates off: what cannot be read wakes all
applications.

Before a Headgate that is a Databricks App stands the platform's proxy, which wants a token as well:
a third parameter is the application id of a service principal that may use the app, and its OAuth
secret is in `HEADGATE_RINGER_SECRET`, or in the scope as `ringer-secret`. databricks.yml beside
this file sets it all up.
"""

# ruff: noqa: INP001 - a script, and no package

import base64
import contextlib
import hmac
import json
import os
import sys
import time
import uuid

import requests


def secret_of(name: str) -> str:
    """A secret, from the environment or from the scope, without the end of its line."""
    variable = f"HEADGATE_{name.upper().replace('-', '_')}"
    if variable in os.environ:
        return os.environ[variable].strip()
    from databricks.sdk.runtime import dbutils  # noqa: PLC0415 - only a job has one

    return str(dbutils.secrets.get("headgate", name)).strip()


url, updates, *ringer = sys.argv[1:]
secret, named = secret_of("webhook-secret"), []
with contextlib.suppress(ValueError, TypeError, KeyError):
    named = [{"full_name": update["full_name"]} for update in json.loads(updates)]
body = json.dumps({"updates": named}).encode()
delivery, sent = str(uuid.uuid4()), str(int(time.time()))
digest = hmac.digest(secret.encode(), f"{delivery}.{sent}.".encode() + body, "sha256")
headers = {"X-MLflow-Delivery-Id": delivery, "X-MLflow-Timestamp": sent}
headers["X-MLflow-Signature"] = f"v1,{base64.b64encode(digest).decode()}"
if ringer:
    from databricks.sdk.core import Config

    login = Config(
        auth_type="oauth-m2m", client_id=ringer[0], client_secret=secret_of("ringer-secret")
    )
    headers |= login.authenticate()
# A redirect leads to a login page: it is an answer of the proxy's, and no ring.
answer = requests.post(url, data=body, headers=headers, timeout=30, allow_redirects=False)
answer.raise_for_status()
if answer.is_redirect:
    sys.exit(f"the doorbell was not rung: {url} answers {answer.status_code}")
