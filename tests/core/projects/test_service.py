from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select

from core.db.session import Ledger
from core.errors import Conflict, InvalidValue, NotAuthenticated, NotFound
from core.projects import service as projects
from core.projects.models import ApiKey, Project
from tests.factories import NOW, later


def a_key(session, name="laptop", project="acme", **told):
    return projects.create_key(session, name=name, project=project, **{"is_admin": False, "now": NOW, **told})


def test_secret_is_shown_once_and_only_its_digest_is_kept(ledger: Ledger):
    with ledger.write() as session:
        key, secret = a_key(session)
    assert re.fullmatch(r"hr-[A-Za-z0-9_-]{43}", secret)
    assert secret not in {str(value) for value in vars(key).values()}
    assert key.prefix == secret[:8]


def test_key_tells_its_project(ledger: Ledger):
    with ledger.write() as session:
        key, secret = a_key(session)
        caller = projects.authenticate(session, secret, now=NOW)
        project = projects.get_project(session, key.project_id)
    assert caller == projects.Caller(key.id, project.id, project.organization_id, False)


def test_admin_key_belongs_to_no_project(ledger: Ledger):
    with ledger.write() as session:
        _, secret = a_key(session, project=None, is_admin=True)
        caller = projects.authenticate(session, secret, now=NOW)
    assert (caller.is_admin, caller.project_id, caller.organization_id) == (True, None, None)


def test_key_without_project_and_rights_is_refused(ledger: Ledger):
    with ledger.write() as session, pytest.raises(InvalidValue, match="names no project"):
        a_key(session, project=None)


@pytest.mark.parametrize("secret", ["", "hr-wrong", "hr-" + "x" * 43, "\ud800"])
def test_unknown_secret_is_nobody_s(ledger: Ledger, secret: str):
    with ledger.write() as session, pytest.raises(NotAuthenticated):
        projects.authenticate(session, secret, now=NOW)


def test_revoked_key_ends_at_once(ledger: Ledger):
    with ledger.write() as session:
        _, secret = a_key(session)
        projects.revoke_key(session, "laptop", now=NOW)
        with pytest.raises(NotAuthenticated):
            projects.authenticate(session, secret, now=NOW)
        with pytest.raises(NotFound, match="no key 'laptop' is in use"):
            projects.revoke_key(session, "laptop", now=NOW)


def test_shared_name_is_revoked_by_id(ledger: Ledger):
    with ledger.write() as session:
        first, _ = a_key(session)
        second, _ = a_key(session)
        with pytest.raises(Conflict, match=first.id):
            projects.revoke_key(session, "laptop", now=NOW)
        assert projects.revoke_key(session, second.id, now=NOW).id == second.id
        assert [k.revoked_at for k in projects.list_keys(session) if k.id == first.id] == [None]


def test_use_is_noted_once_a_minute(ledger: Ledger):
    with ledger.write() as session:
        key, secret = a_key(session)
    used = []
    for seconds in (0, 30, 61):
        with ledger.write() as session:
            projects.authenticate(session, secret, now=later(seconds))
        with ledger.read() as session:
            used.append(session.get_one(ApiKey, key.id).last_used_at)
    assert used == [NOW, NOW, later(61)]


def test_two_callers_at_once_make_one_project(ledger: Ledger):
    def make(_: int) -> str:
        with ledger.write() as session:
            return projects.find_or_create_project(session, "acme", now=NOW).id

    with ThreadPoolExecutor(4) as pool:
        ids = set(pool.map(make, range(8)))
    assert len(ids) == 1
    with ledger.read() as session:
        assert len(session.scalars(select(Project)).all()) == 1


def test_projects_have_organizations_of_their_own(ledger: Ledger):
    with ledger.write() as session:
        one, two = (projects.find_or_create_project(session, name, now=NOW) for name in ("one", "two"))
    assert one.organization_id != two.organization_id
    assert one.organization_id.startswith("org-")


def test_a_project_s_shares_and_its_highest_priority_are_set_each_alone(ledger: Ledger):
    with ledger.write() as session:
        projects.find_or_create_project(session, "acme", now=NOW)
        projects.set_share(session, "acme", weight=2.5)
        project = projects.set_share(session, "acme", max_priority=0)
        assert (project.weight, project.max_priority) == (2.5, 0)
        assert [each.name for each in projects.list_projects(session)] == ["acme"]


@pytest.mark.parametrize("told", [{"weight": 0.0}, {"weight": float("nan")}, {"weight": 1e9}, {"max_priority": 101}])
def test_shares_that_make_no_sense_are_refused(sqlite_ledger: Ledger, told: dict):
    with sqlite_ledger.write() as session:
        projects.find_or_create_project(session, "acme", now=NOW)
        with pytest.raises(InvalidValue, match="acme"):
            projects.set_share(session, "acme", **told)


def test_shares_of_a_project_that_is_not_there_are_refused(sqlite_ledger: Ledger):
    with sqlite_ledger.write() as session, pytest.raises(NotFound, match="projects list"):
        projects.set_share(session, "nobody", weight=1.0)


def test_a_priority_above_what_the_project_may_ask_for_is_refused(sqlite_ledger: Ledger):
    with sqlite_ledger.write() as session:
        project = projects.find_or_create_project(session, "acme", now=NOW)
        projects.set_share(session, "acme", max_priority=3)
        projects.check_priority(session, project.id, 3)
        with pytest.raises(InvalidValue, match="priority 4 is higher than the 3") as refused:
            projects.check_priority(session, project.id, 4)
    assert refused.value.param == "priority"
