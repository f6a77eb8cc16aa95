"""Signed deliveries to the doorbell: MLflow's own scheme, for whoever rings and for who listens."""

import base64
import hmac

SIGNATURE, TIMESTAMP = "X-MLflow-Signature", "X-MLflow-Timestamp"
DELIVERY = "X-MLflow-Delivery-Id"
PATH = "/doorbell"


def signature(secret: str, delivery: str, sent: str, body: bytes) -> bytes:
    """What stands in `X-MLflow-Signature` of a delivery (`mlflow.webhooks.delivery`, MLflow 3)."""
    signed = f"{delivery}.{sent}.".encode("latin-1") + body
    return b"v1," + base64.b64encode(hmac.digest(secret.encode(), signed, "sha256"))
