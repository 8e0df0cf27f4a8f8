"""Uploads: any order of fields, strange names, and all that must leave nothing behind on the disk."""

from __future__ import annotations

import hashlib
import socket
from pathlib import Path

import httpx
import pytest

from core.db.session import Ledger
from core.files.service import get_file
from core.storage.artifacts import INCOMING, Artifacts
from tests.api.serving import House, error_of, serving
from tests.waiting import wait_for
from tests.worker.away_ledger import AwayLedger

BOUNDARY = "b0undary"
FORM = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
MEBIBYTE = 1024 * 1024


def part(name: str, content: bytes, *, filename: str | None = None, extra: str = "") -> bytes:
    file = f'; filename="{filename}"' if filename is not None else ""
    return f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="{name}"{file}\r\n{extra}\r\n'.encode() + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


FILE = part("file", b"abc", filename="a.jsonl")
PURPOSE = part("purpose", b"fine-tune")
ANCHOR = part("expires_after[anchor]", b"created_at")


def send(house: House, body: bytes, **headers: str) -> httpx.Response:
    with house.client() as client:
        return client.post("/v1/files", content=body, headers={**FORM, **headers})


def left_behind(house: House) -> list[Path]:
    incoming = house.artifacts.root / INCOMING
    return list(incoming.iterdir()) if incoming.exists() else []


def stored(house: House) -> int:
    files = house.artifacts.root / "files"
    return len(list(files.iterdir())) if files.exists() else 0


def test_fields_may_stand_in_any_order(house: House) -> None:
    seconds = part("expires_after[seconds]", b"3600")
    for body in (form(FILE, PURPOSE), form(PURPOSE, FILE), form(seconds, FILE, ANCHOR, PURPOSE)):
        answer = send(house, body)
        assert answer.status_code == 200, answer.text
        assert answer.json()["bytes"] == 3
    assert answer.json()["expires_at"] == answer.json()["created_at"] + 3600


def test_bytes_and_digest_are_those_sent(house: House) -> None:
    content = bytes(range(256)) * 3000 + b"\r\n--b0undar\r\n--\r\n"
    told = send(house, form(PURPOSE, part("file", content, filename="x", extra="content-type: image/png\r\n"))).json()
    assert told["bytes"] == len(content)
    with house.ledger.read() as session:
        file = get_file(session, house.project.id, told["id"])
    assert file.sha256 == hashlib.sha256(content).hexdigest()
    with house.client() as client:
        answer = client.get(f"/v1/files/{told['id']}/content")
    assert answer.content == content
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name,kept", [
    ("rows.jsonl", "rows.jsonl"), ("../../etc/passwd", "passwd"), ("C:\\\\data\\\\a.jsonl", "a.jsonl"), ("/", "upload"),
    ("..", "upload"), ("", "upload"), (".", "upload"), ("mühle 🌊.jsonl", "mühle 🌊.jsonl"), ("a\tb\x7f.jsonl", "ab.jsonl"),
    ("<b>.html", "<b>.html"),
    ("x" * 400 + ".jsonl", "x" * 249 + ".jsonl"), ("a%0D%0Ab%22.txt", 'ab".txt'),
])
def test_names_lose_their_folders_and_keep_their_letters(house: House, name: str, kept: str) -> None:
    answer = send(house, form(PURPOSE, part("file", b"abc", filename=name)))
    assert answer.status_code == 200, answer.text
    assert answer.json()["filename"] == kept


NO_FORMS: list[tuple[bytes, str]] = [
    (b"", "invalid_multipart"),
    (b"nonsense", "invalid_multipart"),
    (form(), "missing_required_parameter"),
    (form(PURPOSE), "missing_required_parameter"),
    (form(FILE), "missing_required_parameter"),
    (form(PURPOSE, FILE)[:-8], "invalid_multipart"),
    (form(PURPOSE, FILE)[:60], "invalid_multipart"),
    (form(PURPOSE, FILE, FILE), "invalid_value"),
    (form(PURPOSE, PURPOSE, FILE), "invalid_value"),
    (form(part("purpose", b""), FILE), "invalid_value"),
    (form(part("purpose", b"fine-tune-results"), FILE), "invalid_value"),
    (form(part("purpose", b"\xff"), FILE), "invalid_value"),
    (form(part("purpose", b"a\0"), FILE), "invalid_value"),
    (form(part("purpose", b"x" * 5000), FILE), "invalid_value"),
    (form(PURPOSE, part("file", b"abc")), "invalid_type"),
    (form(PURPOSE, part("file", b"", filename="a")), "invalid_value"),
    (form(PURPOSE, part("upload", b"abc", filename="a")), "unknown_parameter"),
    (form(PURPOSE, FILE, part("surprise", b"1")), "unknown_parameter"),
    (form(PURPOSE, FILE, ANCHOR), "missing_required_parameter"),
    (form(PURPOSE, FILE, part("expires_after[seconds]", b"3600")), "missing_required_parameter"),
    (form(PURPOSE, FILE, part("expires_after[anchor]", b"now"), part("expires_after[seconds]", b"3600")), "invalid_value"),
    *[(form(PURPOSE, FILE, ANCHOR, part("expires_after[seconds]", seconds)), "invalid_value")
      for seconds in (b"", b"0", b"-1", b"3599", b"2592001", b"1e4", b"9" * 50, "٣٦٠٠".encode(), b"NaN")],
    (form(PURPOSE, FILE, part("expires_after[days]", b"1")), "unknown_parameter"),
    (form(b"--b0undary\r\nno header\r\n\r\nabc\r\n"), "invalid_multipart"),
    (form(b"--b0undary\r\n\r\nabc\r\n"), "unknown_parameter"),
    (form(b"--b0undary\r\ncontent-disposition: form-data\r\n\r\nabc\r\n"), "unknown_parameter"),
    (form(b"--b0undary\r\nx: " + b"y" * 9000 + b"\r\n\r\nabc\r\n"), "invalid_multipart"),
    (form(b"--b0undary\r\n" + b"x: y\r\n" * 100 + b"\r\nabc\r\n"), "invalid_multipart"),
]


def test_forms_that_make_no_sense_are_refused_and_leave_nothing(house: House) -> None:
    before = stored(house)
    for body, code in NO_FORMS:
        answer = send(house, body)
        assert answer.status_code == 400, (body[:200], answer.text)
        assert error_of(answer)["code"] == code, (body[:200], answer.text)
    assert left_behind(house) == []
    assert stored(house) == before


@pytest.mark.parametrize("kind,status", [
    ("application/json", 415), ("multipart/form-data", 400), ("multipart/form-data; boundary=", 400), ("text/plain", 415),
    ("multipart/form-data; boundary=" + "x" * 300, 400), ("multipart/mixed; boundary=b0undary", 415), ("", 415),
])
def test_other_content_types_are_refused(house: House, kind: str, status: int) -> None:
    answer = send(house, form(PURPOSE, FILE), **{"content-type": kind})
    assert answer.status_code == status
    error_of(answer)


def test_a_file_beyond_the_limit_is_refused_and_the_client_hears_it(house: House) -> None:
    limit = house.settings.max_file_bytes
    assert send(house, form(PURPOSE, part("file", b"x" * limit, filename="a"))).status_code == 200
    before = stored(house)
    for size in (limit + 1, limit + 70_000, 20 * MEBIBYTE):
        body = form(PURPOSE, part("file", b"x" * size, filename="a"))
        answers = [send(house, body)]
        with house.client() as client:  # without an announced length
            blocks = (body[n : n + 65536] for n in range(0, len(body), 65536))
            answers.append(client.post("/v1/files", content=blocks, headers=FORM))
        for answer in answers:
            assert answer.status_code == 413
            assert error_of(answer)["code"] == "too_large"
    assert left_behind(house) == []
    assert stored(house) == before


def test_a_client_that_goes_away_leaves_nothing(house: House) -> None:
    head = (f"POST /v1/files HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {house.key}\r\ncontent-length: 900000\r\n"
            f"content-type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n").encode()
    with connect(house) as line:
        line.sendall(head + PURPOSE + part("file", b"x" * 600_000, filename="a"))
        wait_for(lambda: left_behind(house) != [])
    wait_for(lambda: left_behind(house) == [])


def test_an_upload_without_a_key_touches_no_disk(house: House) -> None:
    before = stored(house)
    with house.client("hr-unknown") as client:
        answer = client.post("/v1/files", content=form(PURPOSE, part("file", b"x" * 900_000, filename="a")), headers=FORM)
    assert answer.status_code == 401
    assert (left_behind(house), stored(house)) == ([], before)


def test_a_full_disk_is_told_and_not_retried(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    with serving(sqlite_ledger, tmp_path, min_free_bytes=1 << 60) as house:
        answer = send(house, form(PURPOSE, FILE))
        assert answer.status_code == 507
        assert error_of(answer)["code"] == "insufficient_storage"
        assert answer.headers["x-should-retry"] == "false"
        assert (left_behind(house), stored(house)) == ([], 0)
        with house.client() as client:
            refused = client.post("/v1/datasets", json={"name": "rows", "file_id": "file-x"})
        assert (refused.status_code, error_of(refused)["code"]) == (507, "insufficient_storage")


def test_a_file_whose_commit_was_not_answered_keeps_its_bytes(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    ledger = AwayLedger(sqlite_ledger)
    with serving(ledger, tmp_path) as house, house.client() as client:  # pyright: ignore[reportArgumentType]
        assert client.get("/v1/files").json()["data"] == []  # from here on the key is known, and its use is not written down
        ledger.loses_answer.set()
        assert send(house, form(PURPOSE, FILE)).status_code == 503
        file_id = client.get("/v1/files").json()["data"][0]["id"]
        assert client.get(f"/v1/files/{file_id}/content").content == b"abc"


class FullDisk(Artifacts):
    """Gives out temporary files that take no byte."""

    def new_temporary(self) -> Path:
        path = super().new_temporary()
        path.symlink_to("/dev/full")
        return path


def test_a_disk_that_fills_while_bytes_arrive_is_told_and_leaves_nothing(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    with serving(sqlite_ledger, tmp_path, artifacts=FullDisk(tmp_path / "storage")) as house:
        for size in (10, 900_000):
            answer = send(house, form(PURPOSE, part("file", b"x" * size, filename="a")))
            assert answer.status_code == 507
            assert error_of(answer)["code"] == "insufficient_storage"
            assert answer.headers["x-should-retry"] == "false"
        assert (left_behind(house), stored(house)) == ([], 0)


def connect(house: House) -> socket.socket:
    host, port = house.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=10)
