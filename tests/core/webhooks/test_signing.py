"""Signatures as the official client checks them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from openai import InvalidWebhookSignatureError, OpenAI

from core.webhooks.events import event_body
from core.webhooks.signing import hint, new_secret, signed_headers

NOW = datetime.now(UTC)
BODY = event_body("evt_1", "fine_tuning.job.failed", "ftjob-1", at=NOW)
webhooks = OpenAI(api_key="none").webhooks


def test_each_secret_opens_what_both_have_signed() -> None:
    secrets = [new_secret(), new_secret()]
    headers = signed_headers("evt_1", BODY, secrets, now=NOW)
    for secret in secrets:
        assert webhooks.unwrap(BODY, headers, secret=secret).type == "fine_tuning.job.failed"


@pytest.mark.parametrize(("body", "now", "id"), [
    (BODY + b" ", NOW, "evt_1"), (BODY, NOW - timedelta(seconds=301), "evt_1"), (BODY, NOW, "evt_2")])
def test_another_body_an_old_time_and_another_id_are_refused(body: bytes, now: datetime, id: str) -> None:
    secret = new_secret()
    headers = signed_headers("evt_1", BODY, [secret], now=now) | {"webhook-id": id}
    with pytest.raises(InvalidWebhookSignatureError):
        webhooks.unwrap(body, headers, secret=secret)


def test_a_hint_gives_no_secret_away() -> None:
    secret = new_secret()
    assert hint(secret) == f"whsec_…{secret[-4:]}"
