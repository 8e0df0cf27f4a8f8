"""What projects use of the devices: counted while runs hold them, read by the order of the queue and by quotas.

Two counts are kept of the same seconds. `device_use` has a row for each project, key and bucket of ten minutes: what quotas
add up, over any period. `recent_use` has one row for each project, in which every second is worth half after a half-life, so
that the order of the queue reads one number however long the past is:

    recent(t) = Σ device-seconds · 2^(−(t − when they were used) / half-life)

A run's use is noted at each renewal of its lease and at its end, so it is at most a third of a lease behind, and what a crash
leaves unnoted is noted by whoever ends the run.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from core.db.upsert import upsert
from core.projects.models import DeviceUse, RecentUse

BUCKET_SECONDS = 600
HALF_LIFE_SECONDS = 3600.0
"""Where no setting says otherwise."""


def note_use(session: Session, project_id: str, *, devices: int, since: datetime, until: datetime, key_id: str | None = None,
             half_life_seconds: float = HALF_LIFE_SECONDS) -> float:
    """Count that a project held so many devices from `since` until `until`; give the device-seconds that were added.

    Rows are locked in one order, those of a project's buckets before that of its recent use, and are the last that a
    transaction locks, but for the project's own."""
    added = devices * max(0.0, (until - since).total_seconds())
    if added == 0.0:
        return 0.0
    for begins_at, seconds in buckets(since, until):
        row = {"project_id": project_id, "begins_at": begins_at, "key_id": key_id or "", "device_seconds": devices * seconds}
        insert = upsert(session, DeviceUse).values(**row)
        more = {"device_seconds": DeviceUse.device_seconds + devices * seconds}
        session.execute(insert.on_conflict_do_update(index_elements=["project_id", "begins_at", "key_id"], set_=more))
    _note_recent(session, project_id, added, until=until, half_life_seconds=half_life_seconds)
    return added


def used_since(session: Session, project_id: str, since: datetime, *, key_id: str | None = None) -> float:
    """Device-seconds of a project, or of one key of it, from `since` on; exact to the bucket of ten minutes that holds it."""
    query = select(func.sum(DeviceUse.device_seconds)).where(DeviceUse.project_id == project_id,
                                                             DeviceUse.begins_at >= bucket_of(since))
    return session.scalar(query if key_id is None else query.where(DeviceUse.key_id == key_id)) or 0.0


def recent_use(session: Session, *, now: datetime, half_life_seconds: float = HALF_LIFE_SECONDS) -> dict[str, float]:
    """Decayed device-seconds of every project that used a device, by its id; one that never did is absent."""
    rows = session.execute(select(RecentUse.project_id, RecentUse.device_seconds, RecentUse.noted_at))
    return {project_id: seconds * decay((now - at).total_seconds(), half_life_seconds) for project_id, seconds, at in rows}


def decay(age_seconds: float, half_life_seconds: float) -> float:
    """What is left of one second of use after so long; use from the future, by clocks that differ, counts whole."""
    return 2.0 ** (-max(0.0, age_seconds) / half_life_seconds)


def bucket_of(moment: datetime) -> datetime:
    """Start of the bucket that holds a moment."""
    return datetime.fromtimestamp(moment.timestamp() // BUCKET_SECONDS * BUCKET_SECONDS, UTC)


def buckets(since: datetime, until: datetime) -> Iterator[tuple[datetime, float]]:
    """Cut a stretch of time at the borders of buckets: the start of each, and the seconds within it."""
    while since < until:
        begins_at = bucket_of(since)
        end = min(until, begins_at + timedelta(seconds=BUCKET_SECONDS))
        yield begins_at, (end - since).total_seconds()
        since = end


def forget_use(session: Session, *, before: datetime) -> None:
    """Drop buckets that no period asks for any more."""
    session.execute(delete(DeviceUse).where(DeviceUse.begins_at < before))


def _note_recent(session: Session, project_id: str, added: float, *, until: datetime, half_life_seconds: float) -> None:
    first = {"project_id": project_id, "device_seconds": 0.0, "noted_at": until}
    session.execute(upsert(session, RecentUse).values(**first).on_conflict_do_nothing(index_elements=["project_id"]))
    row = session.scalar(select(RecentUse).where(RecentUse.project_id == project_id).with_for_update()
                         .execution_options(populate_existing=True))
    assert row is not None
    at = max(row.noted_at, until)
    row.device_seconds = (row.device_seconds * decay((at - row.noted_at).total_seconds(), half_life_seconds)
                          + added * decay((at - until).total_seconds(), half_life_seconds))
    row.noted_at = at
    session.flush()


__all__ = ["BUCKET_SECONDS", "HALF_LIFE_SECONDS", "bucket_of", "buckets", "decay", "forget_use", "note_use", "recent_use",
           "used_since"]
