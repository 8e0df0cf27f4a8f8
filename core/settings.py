"""The operator's settings: read once from the environment (`HEADRACE_…`), passed down, never read again.

Every field's description is the row of the configuration table in `docs/configuration.md`; a test compares the two.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from core.errors import ConfigurationError, shown

MEBIBYTE = 1024 * 1024
BUCKET_URL = re.compile(r"s3://[A-Za-z0-9][A-Za-z0-9._-]{1,62}(/[A-Za-z0-9._-]+)*/?")
SOCKET_PATH_BYTES = 100
"""A unix socket's path may have 107 bytes; a few are left for what libraries put behind it."""


def default_home() -> Path:
    data = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(data) / "headrace"


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="HEADRACE_", frozen=True, extra="ignore")

    home: Path = Field(default_factory=default_home, description="Folder that holds all state of the embedded default.")
    database_url: str = Field("", description="SQLAlchemy URL (`postgresql+psycopg://…`); empty: SQLite in the home.")
    redis_url: str = Field("", description="Redis URL; empty: an embedded server on a unix socket in the home.")
    storage_url: str = Field(
        "", description="Where files and artifacts lie (`file:///…`, `s3://bucket/prefix`); empty: the home."
    )
    storage_endpoint_url: str = Field("", description="Address of the S3-compatible store; empty: AWS.")
    storage_region: str = Field("us-east-1", description="Region of the bucket.")
    storage_key: str = Field("", repr=False, description="Access key of the bucket; no key of the machine's is ever used.")
    storage_secret: str = Field("", repr=False, description="Secret that belongs to the key.")
    storage_token: str = Field("", repr=False, description="Session token, where the key is a temporary one.")
    storage_path_style: bool = Field(False, description="Whether the bucket stands in an address's path, not in its host.")
    places: Path | None = Field(
        None, description="File that names the places rows may be read from; empty: `places.toml` in the home, if there is one."
    )
    cache_bytes: int = Field(
        8 * 1024**3, ge=0, description="Disk space in the home for blocks of remote files, per host; 0 keeps none."
    )
    host: str = Field("127.0.0.1", description="Address that the API listens on.")
    port: int = Field(8080, ge=0, le=65535, description="Port that the API listens on.")
    lease_seconds: float = Field(30.0, ge=1, le=3600, description="How long a run may write without renewing its lease.")
    stall_seconds: float = Field(
        900.0, ge=5, description="A training child that reports nothing for so long is ended and its run tried again."
    )
    recovery_seconds: float = Field(30.0, ge=0.1, description="Time between two recovery points of a run.")
    max_file_bytes: int = Field(8 * 1024**3, ge=1, description="Largest file that may be uploaded, in bytes.")
    max_body_bytes: int = Field(8 * MEBIBYTE, ge=1024, description="Largest JSON body of a request, in bytes.")
    min_free_bytes: int = Field(
        256 * MEBIBYTE, ge=0, description="Free disk space below which uploads and new checkpoints are refused."
    )
    threads: int = Field(0, ge=0, le=1024, description="CPU threads of a training child; 0: one per core.")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="What train workers compute on.")
    fair_share_half_life_seconds: float = Field(
        3600.0, ge=60, description="After so long a device-second that a project used counts half in the order of the queue."
    )
    backfill_seconds: float = Field(
        600.0, ge=0, description="How long smaller jobs may pass one that waits for devices, where its start is not foreseen."
    )
    preempt_after_seconds: float = Field(
        60.0, ge=0, description="A run is left alone for so long before a job of higher priority may take its devices."
    )
    max_queued_jobs: int = Field(
        1000, ge=1, description="Jobs of one project that may wait at once, unless its own quota says otherwise."
    )
    max_running_jobs: int = Field(
        0, ge=0, description="Jobs of one project that may run at once, unless its own quota says otherwise; 0: no limit."
    )
    max_device_seconds: int = Field(
        0, ge=0, description="Device-seconds of one project in a period, unless its own quota says otherwise; 0: no limit."
    )
    max_stored_bytes: int = Field(
        0, ge=0, description="Bytes of files and checkpoints of one project, unless its own quota says otherwise; 0: no limit."
    )
    quota_period: Literal["day", "week", "month"] = Field(
        "month", description="How long device-seconds are counted together: a day, a week from Monday or a month, in UTC."
    )
    private_webhooks: bool = Field(
        False, description="Whether webhooks may go to private addresses, such as this machine's, and by plain http."
    )
    max_streams: int = Field(512, ge=1, description="Event streams open at once, in one API process.")
    keep_checkpoints: int = Field(3, ge=1, description="Recovery points and old attempts' checkpoints kept on disk per job.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level of log lines.")

    @field_validator("places", mode="before")
    @classmethod
    def empty_is_absent(cls, value: object) -> object:
        return value or None

    @field_validator("home", "places")
    @classmethod
    def path_is_absolute(cls, value: Path | None) -> Path | None:
        return value.expanduser().resolve() if value is not None else None

    @field_validator("database_url")
    @classmethod
    def database_is_known(cls, value: str) -> str:
        if value and not value.startswith(("sqlite:///", "postgresql+psycopg://", "postgresql://")):
            raise ValueError("expected a URL that starts with postgresql+psycopg:// or sqlite:///")
        return value.replace("postgresql://", "postgresql+psycopg://", 1) if value.startswith("postgresql://") else value

    @field_validator("redis_url")
    @classmethod
    def redis_is_known(cls, value: str) -> str:
        if value and not value.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("expected a URL that starts with redis://, rediss:// or unix://")
        return value

    @field_validator("storage_url")
    @classmethod
    def storage_is_known(cls, value: str) -> str:
        if value and not value.startswith(("file:///", "s3://")):
            raise ValueError("expected file:///… on a disk that API and workers share, or s3://bucket/prefix")
        if value.startswith("s3://") and not BUCKET_URL.fullmatch(value):
            raise ValueError("expected s3://bucket or s3://bucket/prefix, of letters, digits and . _ - alone")
        return value.rstrip("/") if value.startswith("s3://") else value

    @model_validator(mode="after")
    def bucket_has_a_key(self) -> Settings:
        if self.is_bucket and not (self.storage_key and self.storage_secret):
            raise ValueError("HEADRACE_STORAGE_URL is a bucket; set HEADRACE_STORAGE_KEY and HEADRACE_STORAGE_SECRET too")
        return self

    @property
    def cache_folder(self) -> Path:
        return self.home / "cache" / "blocks"

    @property
    def sql_url(self) -> str:
        return self.database_url or f"sqlite:///{self.home / 'headrace.db'}"

    @property
    def bell_url(self) -> str:
        return self.redis_url or f"unix://{self.redis_socket}"

    @property
    def redis_socket(self) -> Path:
        """Socket of the embedded Redis: in the home, or in a short private folder where that path is too long for one."""
        inside = self.home / "redis.sock"
        if len(os.fsencode(inside)) <= SOCKET_PATH_BYTES:
            return inside
        digest = hashlib.sha256(os.fsencode(self.home)).hexdigest()[:16]
        return Path("/tmp") / f"headrace-{os.getuid()}-{digest}" / "redis.sock"

    @property
    def is_bucket(self) -> bool:
        """Whether files and artifacts lie in an S3-compatible store, which needs no disk that machines share."""
        return self.storage_url.startswith("s3://")

    @property
    def storage_root(self) -> Path:
        """The folder that storage lies in; beside a bucket, the one for what is on its way there and for copies."""
        return self.home / "storage" if self.is_bucket or not self.storage_url else Path(self.storage_url.removeprefix("file://"))


def read_settings(**overrides: object) -> Settings:
    """Read the environment; raise ConfigurationError that names each variable at fault, the value and what was expected."""
    try:
        return Settings(**overrides)  # pyright: ignore[reportArgumentType]
    except ValidationError as error:
        faults = [_fault(e) for e in error.errors()]
        raise ConfigurationError("; ".join(faults) + "; correct the environment and start again") from None


def _fault(error) -> str:
    if not error["loc"]:
        return error["msg"].removeprefix("Value error, ")
    name = "HEADRACE_" + ".".join(str(part) for part in error["loc"]).upper()
    return f"{name} is {shown(error['input'])}: {error['msg'][:1].lower()}{error['msg'][1:]}"
