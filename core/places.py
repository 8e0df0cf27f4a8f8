"""The operator's places: a TOML file comes in, `Place` values go out, which clients name and never see.

    [places.lake]
    url = "s3://bucket/prefix"
    endpoint_url = "http://minio.lan:9000"
    key_env = "LAKE_KEY"            # or key = "…"
    secret_env = "LAKE_SECRET"      # or secret = "…"

    [places.shared]
    url = "file:///srv/data"
    projects = ["research"]         # left out: all projects

A project that a place is not open to is answered as if there were no such place, and so are its runs.

The file is read anew whenever a run or a pass over data begins, so a key that was changed holds from then on.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from core.data.spec import Place, Places
from core.errors import ConfigurationError, InvalidValue, Unavailable, shown
from core.logs import get_log
from core.settings import Settings
from core.storage.artifacts import STORAGE

log = get_log(__name__)


FILE_NAME = "places.toml"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
SECRETS = ("key", "secret", "token")
"""Options that may be written as such or, with `_env` behind the name, as the variable that holds them."""
OPTIONS: dict[str, tuple[str, ...]] = {
    "file": (),
    "s3": ("endpoint_url", "region", "key", "secret", "token", "path_style"),
    "https": ("token", "header"),
    "http": ("token", "header"),
    "hf": ("token", "endpoint"),
}
"""What each kind of place takes beside its url."""


def places_of(settings: Settings, environment: Mapping[str, str] = os.environ) -> Places:
    """Read the file that the settings name; no file in the home means no places.

    Raises ConfigurationError, which names the entry at fault and never shows its value."""
    path = settings.places or settings.home / FILE_NAME
    found = read_places(path, environment) if settings.places or path.exists() else {}
    return Places(found, str(settings.cache_folder) if settings.cache_bytes else None, settings.cache_bytes)


def readable(settings: Settings) -> Places:
    """All that rows are read from: the operator's places, and our own storage where that is a bucket."""
    found = places_of(settings)
    if not settings.is_bucket:
        return found
    return replace(found, by_name={**found.by_name, STORAGE: storage_place(settings)})


def storage_place(settings: Settings) -> Place:
    """Our bucket, as a place is described."""
    options = {"endpoint_url": settings.storage_endpoint_url, "region": settings.storage_region, "key": settings.storage_key,
               "secret": settings.storage_secret, "token": settings.storage_token, "path_style": settings.storage_path_style}
    return Place(STORAGE, settings.storage_url, {name: value for name, value in options.items() if value})


def read_places(path: Path, environment: Mapping[str, str]) -> dict[str, Place]:
    try:
        told = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigurationError(f"the places' file {path} cannot be read ({error.strerror}); write it, or leave "
                                 "HEADRACE_PLACES out") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the places' file {path} is no TOML: {error}") from None
    entries = told.pop("places", {})
    if told or not isinstance(entries, dict):
        raise ConfigurationError(f"the places' file {path} has {shown(next(iter(told), 'places'))} where tables "
                                 "[places.NAME] are expected")
    return {name: _place(name, entry, environment) for name, entry in entries.items()}


def open_to_clients(settings: Settings, project: str, read: Callable[[Settings], Places] = places_of) -> Places:
    """The places as clients of a project may name them.

    Raises Unavailable for a file at fault, which is the operator's alone to read."""
    try:
        return read(settings).of_project(project)
    except ConfigurationError as error:
        log.error("places.unreadable", cause=error.message)
        raise Unavailable("the operator's file of places is at fault, so none can be named; tell the operator, whose log says "
                          "what", code="places_unavailable", retry_after_seconds=30) from error


def get_place(places: Places, name: str, *, param: str = "place") -> Place:
    """Give a place by the name that a client wrote; raise InvalidValue for one that is not among those that it may name."""
    if name not in places.by_name or not NAME.fullmatch(name):
        named = ", ".join(sorted(places.by_name)) or "none so far"
        raise InvalidValue(f"{param} {shown(name)} is not one that the operator of this server has named for your project "
                           f"({named}); see GET /v1/places", param=param)
    return places.by_name[name]


def _place(name: str, entry: Any, environment: Mapping[str, str]) -> Place:
    where = f"places.{name}"
    if not NAME.fullmatch(name):
        raise ConfigurationError(f"{where}: a name has 1 to 63 letters, digits, '-' and '_', and begins with a letter or digit")
    if not isinstance(entry, dict) or not isinstance(entry.get("url"), str):
        raise ConfigurationError(f"{where}.url is missing; give where the place is, such as \"s3://bucket/prefix\"")
    url = entry["url"].rstrip("/")
    kind = _check_url(where, url)
    options = {key: value for key, value in entry.items() if key not in ("url", "projects")}
    return _checked(where, Place(name, url, _resolved(where, kind, options, environment), _projects(where, entry)))


def _projects(where: str, entry: dict[str, Any]) -> tuple[str, ...] | None:
    """Names, not looked up: a project may be made later."""
    named = entry.get("projects")
    if named is None:
        return None
    if not isinstance(named, list) or not all(isinstance(name, str) and name for name in named):
        raise ConfigurationError(f"{where}.projects must be a list of names of projects, such as [\"research\"]; leave it out "
                                 "to open the place to all")
    return tuple(named)


def _check_url(where: str, url: str) -> str:
    parts = urlsplit(url)
    kind = parts.scheme
    if kind not in OPTIONS:
        raise ConfigurationError(f"{where}.url begins with {shown(kind)}; use file://, s3://, https:// or hf://")
    if parts.username or parts.password:
        raise ConfigurationError(f"{where}.url holds a user or a password; give them as options of their own")
    if parts.query or parts.fragment:
        raise ConfigurationError(f"{where}.url has a '?' or a '#'; give the root of the place alone")
    if kind == "file" and (parts.netloc or not parts.path.startswith("/")):
        raise ConfigurationError(f"{where}.url is a relative file://; write file:/// and an absolute path")
    if kind != "file" and not parts.netloc:
        raise ConfigurationError(f"{where}.url names no host or bucket; write {kind}://NAME/…")
    return kind


def _resolved(where: str, kind: str, options: dict[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """The options with each `NAME_env` replaced by what that variable holds."""
    resolved: dict[str, Any] = {}
    for option, value in options.items():
        name = option.removesuffix("_env")
        is_from_environment = option != name and name in SECRETS
        name = name if is_from_environment else option
        if name not in OPTIONS[kind]:
            takes = ", ".join(OPTIONS[kind]) or "nothing else"
            raise ConfigurationError(f"{where}.{option} is unknown; a place of kind {kind} takes {takes}")
        if name in resolved:
            raise ConfigurationError(f"{where} has both {name} and {name}_env; keep one")
        if is_from_environment:
            if not environment.get(str(value)):
                raise ConfigurationError(f"{where}.{option} names variable {shown(value)}, which is not set; set it and start "
                                         "again")
            value = environment[str(value)]
        resolved[name] = value
    return resolved


def _checked(where: str, place: Place) -> Place:
    for option, value in place.options.items():
        if option == "path_style" and not isinstance(value, bool):
            raise ConfigurationError(f"{where}.{option} must be true or false")
        if option != "path_style" and not (isinstance(value, str) and value and value.isprintable()):
            raise ConfigurationError(f"{where}.{option} must be a text in quotes, not empty and of one line")
    if ("key" in place.options) != ("secret" in place.options):
        raise ConfigurationError(f"{where} has one of key and secret; give both, or neither for a place that all may read")
    if place.kind == "http" and "token" in place.options and not _is_loopback(place.url):
        raise ConfigurationError(f"{where}.token would cross the network in the clear; use an https:// url")
    return place


def _is_loopback(url: str) -> bool:
    return urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1")
