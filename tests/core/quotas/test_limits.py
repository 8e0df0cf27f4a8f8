from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from core.errors import InvalidValue
from core.quotas.limits import Limits, Rules, period_at, read_limits
from core.settings import Settings

TUESDAY = datetime(2026, 11, 24, 13, 30, tzinfo=UTC)


@pytest.mark.parametrize("name, starts, ends", [("day", (11, 24), (11, 25)), ("week", (11, 23), (11, 30)),
                                                ("month", (11, 1), (12, 1))])
def test_a_period_is_of_the_calendar_in_utc(name, starts, ends):
    period = period_at(TUESDAY, name)
    assert (period.started_at, period.ends_at) == tuple(datetime(2026, *day, tzinfo=UTC) for day in (starts, ends))


def test_a_month_ends_where_the_next_begins_whatever_its_length():
    for month in range(1, 13):
        period = period_at(datetime(2027, month, 28, 23, 59, tzinfo=UTC), "month")
        assert period_at(period.ends_at, "month").started_at == period.ends_at
        assert period.started_at.month == month


def test_the_clock_of_a_place_does_not_move_a_period():
    abroad = datetime(2026, 11, 25, 1, 0, tzinfo=timezone(timedelta(hours=9)))
    assert period_at(abroad, "day").started_at == datetime(2026, 11, 24, tzinfo=UTC)


def test_limits_of_its_own_go_before_the_settings_and_none_takes_one_away():
    rules = Rules.of(Settings(max_running_jobs=2, max_stored_bytes=0))
    assert rules.defaults == Limits(running_jobs=2, queued_jobs=1000)
    assert rules.defaults.changed({"running_jobs": None, "device_seconds": 60}) == Limits(None, 1000, 60, None)


@pytest.mark.parametrize("told, words", [({"jobs": 1}, "no quota 'jobs'"), ({"running_jobs": -1}, "is -1; a whole number"),
                                         ({"running_jobs": 1.5}, "is 1.5"), ({"stored_bytes": True}, "is True"),
                                         ({"stored_bytes": 2**60}, "is 1152921504606846976")])
def test_what_is_no_limit_is_refused_by_name(told, words):
    with pytest.raises(InvalidValue, match=words):
        read_limits(told)
