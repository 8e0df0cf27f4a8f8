"""Signatures as the official client checks them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from openai import InvalidWebhookSignatureError, OpenAI

from core.webhooks.events import event_body
from core.webhooks.signing import hint, new_secret, signed_headers
from tests.factories import NOW

BODY = event_body("evt_1", "fine_tuning.job.failed", "ftjob-1", at=NOW)
webhooks = OpenAI(api_key="none").webhooks


def test_each_secret_opens_what_both_have_signed() -> None:
    secrets = [new_secret(), new_secret()]
    headers = signed_headers("evt_1", BODY, secrets, now=datetime.now(UTC))
    for secret in secrets:
        assert webhooks.unwrap(BODY, headers, secret=secret).type == "fine_tuning.job.failed"


@pytest.mark.parametrize(("body", "age_seconds", "id"), [(BODY + b" ", 0, "evt_1"), (BODY, 400, "evt_1"), (BODY, 0, "evt_2")])
def test_another_body_an_old_time_and_another_id_are_refused(body: bytes, age_seconds: int, id: str) -> None:
    secret, signed_at = new_secret(), datetime.now(UTC) - timedelta(seconds=age_seconds)
    headers = signed_headers("evt_1", BODY, [secret], now=signed_at) | {"webhook-id": id}
    with pytest.raises(InvalidWebhookSignatureError):
        webhooks.unwrap(body, headers, secret=secret)


def test_a_hint_gives_no_secret_away() -> None:
    secret = new_secret()
    assert hint(secret) == f"whsec_…{secret[-4:]}"
