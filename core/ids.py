"""New ids: a prefix that says what the thing is, and 24 random characters of [A-Za-z0-9] (142 bits)."""

from __future__ import annotations

import secrets
import string

ALPHABET = string.ascii_letters + string.digits
LENGTH = 24

PREFIXES = {
    "project": "proj_",
    "organization": "org-",
    "key": "key_",
    "file": "file-",
    "dataset": "ds_",
    "dataset_version": "dsv_",
    "job": "ftjob-",
    "run": "run_",
    "checkpoint": "ftckpt_",
    "worker": "wrk_",
    "device": "dev_",
    "chore": "chore_",
    "request": "req_",
    "webhook_endpoint": "we_",
    "delivery": "whd_",
    "event": "evt_",
}


def new_id(kind: str) -> str:
    return PREFIXES[kind] + random_text(LENGTH)


def random_text(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))
