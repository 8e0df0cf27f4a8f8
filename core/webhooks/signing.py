"""Signatures after the Standard Webhooks specification, version 1 (standardwebhooks.com), which the official client checks:
HMAC-SHA256 over `id.timestamp.body`."""

from __future__ import annotations

import base64
import secrets as randomness
from collections.abc import Sequence
from datetime import datetime

from standardwebhooks import Webhook

PREFIX = "whsec_"
SECRET_BYTES = 32


def new_secret() -> str:
    return PREFIX + base64.b64encode(randomness.token_bytes(SECRET_BYTES)).decode()


def hint(secret: str) -> str:
    """Show a secret so that its owner knows it again, and nobody else learns it."""
    return f"{PREFIX}…{secret[-4:]}"


def signed_headers(event_id: str, body: bytes, secrets: Sequence[str], *, now: datetime) -> dict[str, str]:
    """The headers of one try; `secrets` each sign, the newest first. A receiver takes a try for 300 s around `now`."""
    signatures = [Webhook(secret).sign(msg_id=event_id, timestamp=now, data=body.decode()) for secret in secrets]
    return {"content-type": "application/json", "user-agent": "headrace", "webhook-id": event_id,
            "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": " ".join(signatures)}
