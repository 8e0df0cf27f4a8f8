from pathlib import Path

from core.db.session import Ledger
from tests.api.serving import error_of, serving

SECRET = "s3cr3t-of-the-lake"


def test_clients_see_names_and_kinds_and_nothing_else(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "places.toml").write_text(
        f'[places.web]\nurl = "https://hidden.example/rows"\n'
        f'[places.lake]\nurl = "s3://bucket"\nkey = "AK"\nsecret = "{SECRET}"')
    with serving(sqlite_ledger, tmp_path) as house, house.client() as client:
        answer = client.get("/v1/places")
        assert answer.json()["data"] == [{"id": "lake", "object": "place", "kind": "s3"},
                                         {"id": "web", "object": "place", "kind": "https"}]
        assert not any(hidden in answer.text for hidden in (SECRET, "bucket", "hidden.example"))
        (tmp_path / "places.toml").unlink()
        assert client.get("/v1/places").json()["data"] == []


def test_a_file_at_fault_is_told_to_the_operator_and_not_to_clients(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "places.toml").write_text(f'[places.lake]\nurl = "s3://bucket"\nsecret = "{SECRET}"')
    with serving(sqlite_ledger, tmp_path) as house, house.client() as client:
        answer = client.get("/v1/places")
    assert answer.status_code == 503
    assert error_of(answer)["code"] == "places_unavailable"
    assert "lake" not in answer.text


def test_a_place_that_is_not_open_to_a_project_is_as_if_it_were_not_there(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    with serving(sqlite_ledger, tmp_path) as house:
        (tmp_path / "places.toml").write_text(
            f'[places.lake]\nurl = "s3://bucket"\nprojects = ["{house.project.name}"]\n[places.web]\nurl = "https://x.example"')
        with house.client() as client, house.client(house.strange_key) as strange:
            assert [place["id"] for place in client.get("/v1/places").json()["data"]] == ["lake", "web"]
            assert [place["id"] for place in strange.get("/v1/places").json()["data"]] == ["web"]
            body = {"name": "logs", "place": "lake", "path": "a.jsonl"}
            assert client.post("/v1/datasets", json=body).status_code == 200
            withheld = error_of(strange.post("/v1/datasets", json=body))
            unknown = error_of(strange.post("/v1/datasets", json={**body, "place": "sea"}))
    assert withheld["message"].replace("'lake'", "'sea'") == unknown["message"]
    assert (withheld["code"], withheld["param"]) == (unknown["code"], unknown["param"])
