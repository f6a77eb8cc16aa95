"""Rings Headgate's doorbell: one task of a Databricks job that model updates trigger.

As a Python script task, with the parameters
`["https://headgate.example.com/doorbell", "{{job.trigger.model.updates}}"]` and the environment
variable `HEADGATE_WEBHOOK_SECRET`, set to `{{secrets/headgate/webhook-secret}}`; or as a notebook's
cell, with `url` and `updates` from its widgets and the secret from `dbutils.secrets`. Databricks
cuts a long list of updates off: what cannot be read wakes all applications.
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

url, updates = sys.argv[1:]
secret, named = os.environ["HEADGATE_WEBHOOK_SECRET"], []
with contextlib.suppress(ValueError, TypeError, KeyError):
    named = [{"full_name": update["full_name"]} for update in json.loads(updates)]
body = json.dumps({"updates": named}).encode()
delivery, sent = str(uuid.uuid4()), str(int(time.time()))
digest = hmac.digest(secret.encode(), f"{delivery}.{sent}.".encode() + body, "sha256")
headers = {"X-MLflow-Delivery-Id": delivery, "X-MLflow-Timestamp": sent}
headers["X-MLflow-Signature"] = f"v1,{base64.b64encode(digest).decode()}"
requests.post(url, data=body, headers=headers, timeout=30).raise_for_status()
