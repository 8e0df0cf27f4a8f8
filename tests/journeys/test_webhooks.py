"""A job ends, and its project's endpoint is told, though it refuses at first."""

from __future__ import annotations

from openai import OpenAI

from tests.journeys import jobs
from tests.receivers import a_receiver
from tests.servers import Server
from tests.waiting import wait_for


def test_the_end_of_a_job_reaches_an_endpoint_that_refused_it_at_first(server: Server) -> None:
    openai = OpenAI(base_url=f"{server.url}/v1", api_key=server.key)
    with a_receiver() as receiver, server.client() as client:
        receiver.answers = [503]
        endpoint = openai.webhooks.create(name="ours", url=receiver.url, event_types=["fine_tuning.job.cancelled"])
        job_id = jobs.submit(client, jobs.upload(client, jobs.chat_rows(24)))
        openai.fine_tuning.jobs.cancel(job_id)
        wait_for(lambda: len(receiver.received) >= 2, "the endpoint was not told again", log=server.log)
        first, second = receiver.received
        assert first.headers["webhook-id"] == second.headers["webhook-id"]
        event = openai.webhooks.unwrap(second.body, second.headers, secret=endpoint.signing_secret)
        assert (event.type, event.data.id) == ("fine_tuning.job.cancelled", job_id)
        told = wait_for(lambda: delivered(client, endpoint.id), "the delivery was not noted", log=server.log)
        assert (told["attempts"], told["last_status_code"]) == (2, 204)
        openai.webhooks.delete(endpoint.id)


def delivered(client, endpoint_id: str) -> dict | None:
    (delivery,) = client.get(f"/webhook_endpoints/{endpoint_id}/deliveries").json()["data"]
    return delivery if delivery["status"] == "delivered" else None
