"""The sender: all that is due arrives, signed, one request at a time to an endpoint, whoever is slow or away."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from openai import OpenAI
from sqlalchemy import select

from core.db.session import Ledger
from core.webhooks import service
from core.webhooks.events import EVENT_TYPES
from core.webhooks.models import WebhookDelivery, WebhookEndpoint
from tests.core.webhooks.test_outbox import deliveries, end_a_job, turn_clock
from tests.factories import NOW, a_project
from tests.receivers import Receiver, a_receiver
from tests.waiting import wait_for
from worker.webhooks import Sender


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with a_receiver() as receiver:
        yield receiver


def a_sender(ledger: Ledger, holder: str = "one", **options: Any) -> Sender:
    return Sender(ledger, **{"holder": holder, "lease_seconds": 30.0, "is_private_allowed": True, **options})


def an_endpoint_at(ledger: Ledger, url: str) -> WebhookEndpoint:
    with ledger.write() as session:
        return service.create_endpoint(session, a_project(session).id, name="ours", url=url, event_types=EVENT_TYPES,
                                       is_private_allowed=True, now=NOW)


def end_jobs(ledger: Ledger, count: int) -> None:
    with ledger.write() as session:
        for _ in range(count):
            end_a_job(session)


def wait_until(ledger: Ledger, state: str, count: int) -> None:
    wait_for(lambda: sum(delivery.state == state for delivery in deliveries(ledger)) >= count, f"not {count} are {state}")


def test_what_arrives_is_signed_so_that_the_official_client_takes_it(ledger: Ledger, receiver: Receiver) -> None:
    endpoint = an_endpoint_at(ledger, receiver.url)
    end_jobs(ledger, 1)
    a_sender(ledger).turn()
    wait_until(ledger, "delivered", 1)
    (received,) = receiver.received
    event = OpenAI(api_key="none").webhooks.unwrap(received.body, received.headers, secret=endpoint.secret)
    assert event.type == "fine_tuning.job.cancelled"
    assert event.id == received.headers["webhook-id"]


def test_all_that_is_due_goes_out_in_one_turn_one_after_the_other(ledger: Ledger, receiver: Receiver) -> None:
    an_endpoint_at(ledger, receiver.url)
    end_jobs(ledger, 5)
    receiver.seconds = 0.02
    a_sender(ledger).turn()
    wait_until(ledger, "delivered", 5)
    assert receiver.most_at_once == 1
    assert len({received.headers["webhook-id"] for received in receiver.received}) == 5


def test_an_endpoint_that_had_a_thread_for_its_time_waits_for_its_next_turn(ledger: Ledger, receiver: Receiver) -> None:
    an_endpoint_at(ledger, receiver.url)
    end_jobs(ledger, 2)
    sender = a_sender(ledger, go_on_seconds=0)
    sender.turn()
    wait_until(ledger, "delivered", 1)
    assert [delivery.attempts for delivery in deliveries(ledger) if delivery.state == "waiting"] == [0]
    sender.turn()
    wait_until(ledger, "delivered", 2)


def test_a_slow_endpoint_keeps_no_other_waiting(ledger: Ledger, receiver: Receiver) -> None:
    with a_receiver() as slow:
        slow.seconds = 3.0
        an_endpoint_at(ledger, slow.url)
        an_endpoint_at(ledger, receiver.url)
        end_jobs(ledger, 3)
        a_sender(ledger).turn()
        wait_until(ledger, "delivered", 3)
        assert len(slow.received) == 1


def test_what_was_refused_is_sent_again_under_its_id(ledger: Ledger, receiver: Receiver) -> None:
    an_endpoint_at(ledger, receiver.url)
    end_jobs(ledger, 1)
    receiver.answers = [500]
    sender = a_sender(ledger)
    sender.turn()
    wait_for(lambda: deliveries(ledger)[0].last_status == 500, "nothing was sent")
    turn_clock(ledger, seconds=6)
    sender.turn()
    wait_until(ledger, "delivered", 1)
    assert [received.headers["webhook-id"] for received in receiver.received] == [deliveries(ledger)[0].event_id] * 2
    assert receiver.received[0].body == receiver.received[1].body


def test_of_two_senders_the_holder_of_the_role_sends(ledger: Ledger, receiver: Receiver) -> None:
    an_endpoint_at(ledger, receiver.url)
    one, other = a_sender(ledger, "one"), a_sender(ledger, "other")
    end_jobs(ledger, 1)
    one.turn()
    wait_until(ledger, "delivered", 1)
    end_jobs(ledger, 1)
    other.turn()
    assert [delivery.state for delivery in deliveries(ledger)].count("waiting") == 1
    one.turn()
    wait_until(ledger, "delivered", 2)


def test_a_private_address_is_told_nothing_unless_the_operator_allows_it(ledger: Ledger, receiver: Receiver) -> None:
    an_endpoint_at(ledger, receiver.url)
    end_jobs(ledger, 1)
    a_sender(ledger, is_private_allowed=False).turn()
    wait_for(lambda: deliveries(ledger)[0].last_error, "nothing was tried")
    with ledger.read() as session:
        delivery = session.scalars(select(WebhookDelivery)).one()
    assert (delivery.state, receiver.received) == ("waiting", [])
    assert "127.0.0.1" in (delivery.last_error or "")
