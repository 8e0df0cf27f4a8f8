from __future__ import annotations

import csv
import io

import pytest

from core.db.session import Ledger
from core.events.service import append_message, append_metrics
from core.jobs.results import COLUMNS, cell, result_csv, result_name
from tests.factories import NOW, a_queued_job, a_step


def test_one_row_a_step_in_the_order_of_steps(ledger: Ledger):
    with ledger.write() as session:
        job = a_queued_job(session)
        append_metrics(session, job, [a_step(1, valid_loss=1.5, tokens_per_second=200.0), a_step(2)], now=NOW)
        append_message(session, job, code="x.said", message="between", now=NOW)
        append_metrics(session, job, [a_step(2), a_step(3)], now=NOW)
        rows = list(csv.DictReader(io.StringIO(b"".join(result_csv(session, job.id)).decode())))
    assert [row["step"] for row in rows] == ["1", "2", "3"]
    assert rows[0] == {"step": "1", "train_loss": "2.0", "train_accuracy": "0.5", "valid_loss": "1.5",
                       "valid_mean_token_accuracy": "", "train_mean_token_accuracy": "0.5", "learning_rate": "0.0001",
                       "tokens_per_second": "200.0"}
    assert rows[1]["valid_loss"] == ""


def test_job_without_steps_has_a_header_alone(ledger: Ledger):
    with ledger.write() as session:
        job = a_queued_job(session)
        assert b"".join(result_csv(session, job.id)).decode() == ",".join(COLUMNS) + "\n"
    assert result_name(job.id).endswith(".csv")


@pytest.mark.parametrize("value, text", [(None, ""), (float("nan"), ""), (-1.5, "-1.5"), (3, "3"), ("=1+1", "'=1+1"),
                                         ("@x", "'@x"), ("\tx", "'\tx"), ('a"b', '"a""b"'), ("-a,b", '"\'-a,b"'),
                                         ("a\nb", '"a\nb"')])
def test_cell_is_no_formula_and_one_cell(value: object, text: str):
    assert cell(value) == text
