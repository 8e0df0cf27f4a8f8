"""Webhook endpoints through the unmodified `openai` client, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest

from core.db.session import Ledger
from tests.api.serving import House, error_of, serving
from tests.core.webhooks.test_outbox import end_a_job
from tests.receivers import a_receiver

URL = "https://hooks.example.com/headrace"
ENDED = "fine_tuning.job.succeeded"


def create(house: House, **fields):
    return house.openai().webhooks.create(**{"name": "ours", "url": URL, "event_types": [ENDED], **fields})


@pytest.fixture
def private_house(ledger: Ledger, tmp_path) -> Iterator[House]:
    """A server whose operator lets webhooks go to private addresses."""
    with serving(ledger, tmp_path, private_webhooks=True) as house:
        yield house


def test_an_endpoint_is_created_changed_listed_and_deleted(house: House) -> None:
    webhooks = house.openai().webhooks
    made = create(house)
    assert made.signing_secret.startswith("whsec_")
    assert made.signing_secret not in (made.signing_secret_hint or made.signing_secret)
    shown = webhooks.retrieve(made.id)
    assert (shown.name, shown.url, shown.event_types, shown.object) == ("ours", URL, [ENDED], "webhook_endpoint")
    assert not hasattr(shown, "signing_secret")
    changed = webhooks.update(made.id, name="theirs", event_types=["fine_tuning.job.failed"])
    assert (changed.name, changed.url, changed.event_types) == ("theirs", URL, ["fine_tuning.job.failed"])
    newer = create(house)
    assert [endpoint.id for endpoint in webhooks.list(limit=1)][:2] == [newer.id, made.id]
    assert webhooks.rotate_secret(made.id).signing_secret != made.signing_secret
    assert webhooks.event_types.list().data == [ENDED, "fine_tuning.job.failed", "fine_tuning.job.cancelled"]
    assert webhooks.delete(made.id).deleted
    with pytest.raises(openai.NotFoundError):
        webhooks.retrieve(made.id)


@pytest.mark.parametrize(("field", "value"), [
    ("url", "http://hooks.example.com/"), ("url", "https://127.0.0.1/"), ("url", "https://[::1]/"), ("url", "ftp://a.example/"),
    ("url", "https://user:word@a.example/"), ("url", "https://localhost/"), ("name", ""), ("name", "\n"), ("event_types", []),
    ("event_types", ["batch.completed"])])
def test_what_cannot_be_taken_is_refused_by_its_name(house: House, field: str, value: object) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        create(house, **{field: value})
    assert (caught.value.param or "").startswith(field)


def test_no_more_than_a_project_may_have(house: House) -> None:
    for _ in range(32 - len(list(house.openai().webhooks.list()))):
        create(house)
    with pytest.raises(openai.RateLimitError, match="32 webhook endpoints"):
        create(house)


def test_a_sample_is_sent_at_once_and_its_answer_told(private_house: House) -> None:
    webhooks = private_house.openai().webhooks
    with a_receiver() as receiver:
        made = create(private_house, url=receiver.url)
        receiver.answers = [418]
        told = webhooks.test(made.id, event_type=ENDED)
        assert (told.status_code, told.success, told.event_type, told.webhook_endpoint_id) == (418, True, ENDED, made.id)
        (received,) = receiver.received
    event = webhooks.unwrap(received.body, received.headers, secret=made.signing_secret)
    assert event.type == ENDED
    with pytest.raises(openai.BadRequestError) as caught:
        webhooks.test(made.id, event_type=ENDED)
    assert caught.value.code == "webhook_unreachable"
    assert "was not reached" in caught.value.message


def test_deliveries_are_shown_with_their_tries(private_house: House) -> None:
    made = create(private_house, event_types=["fine_tuning.job.cancelled"])
    with private_house.ledger.write() as session:
        end_a_job(session, private_house.project)
    with private_house.client() as client:
        page = client.get(f"/v1/webhook_endpoints/{made.id}/deliveries").json()
        (delivery,) = page["data"]
        assert (delivery["status"], delivery["attempts"], delivery["last_error"]) == ("waiting", 0, None)
        assert delivery["next_attempt_at"] >= delivery["created_at"] - 365 * 86400
        lost = client.get(f"/v1/webhook_endpoints/{made.id}/deliveries", params={"after": "whd_none"})
    assert (lost.status_code, error_of(lost)["param"]) == (404, "after")
