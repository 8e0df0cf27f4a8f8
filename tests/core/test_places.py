from pathlib import Path

import pytest

from core.errors import ConfigurationError, InvalidValue
from core.places import get_place, open_to_clients, places_of, read_places
from core.settings import Settings

SECRET = "s3cr3t-value"


def read(folder: Path, text: str, **environment: str):
    path = folder / "places.toml"
    path.write_text(text)
    return read_places(path, environment)


def test_each_kind_of_place_is_read(tmp_path: Path):
    places = read(tmp_path, """
        [places.lake]
        url = "s3://bucket/prefix/"
        endpoint_url = "http://minio.lan:9000"
        key_env = "LAKE_KEY"
        secret = "s3cr3t-value"
        [places.shared]
        url = "file:///srv/data"
        [places.web]
        url = "https://host.example/rows"
        token_env = "TOKEN"
        [places.hub]
        url = "hf://datasets/org/name@main"
        """, LAKE_KEY="AK", TOKEN="t")
    assert {name: place.kind for name, place in places.items()} == {"lake": "s3", "shared": "file", "web": "https", "hub": "hf"}
    assert places["lake"].url == "s3://bucket/prefix"
    assert places["lake"].options == {"endpoint_url": "http://minio.lan:9000", "key": "AK", "secret": SECRET}


def test_a_place_does_not_show_what_opens_it(tmp_path: Path):
    place = read(tmp_path, f'[places.lake]\nurl = "s3://b"\nkey = "AKIA"\nsecret = "{SECRET}"')["lake"]
    assert SECRET not in repr(place)
    assert "AKIA" not in str(place)


@pytest.mark.parametrize(("text", "words"), [
    ('[places.lake]\nurl = "ftp://host/x"', r"places\.lake\.url begins with 'ftp'"),
    ('[places.lake]\nkey = "a"', r"places\.lake\.url is missing"),
    ('[places.lake]\nurl = "s3://user:pass@bucket/x"', r"places\.lake\.url holds a user or a password"),
    ('[places.lake]\nurl = "https://host/x?token=1"', r"places\.lake\.url has a '\?'"),
    ('[places.lake]\nurl = "file://data"', r"places\.lake\.url is a relative file://"),
    ('[places.lake]\nurl = "s3:///x"', r"places\.lake\.url names no host or bucket"),
    ('[places.lake]\nurl = "s3://b"\nsecrets = "a"', r"places\.lake\.secrets is unknown"),
    ('[places.lake]\nurl = "file:///d"\ntoken = "a"', r"places\.lake\.token is unknown; .* takes nothing else"),
    ('[places.lake]\nurl = "s3://b"\nkey = "a"', r"places\.lake has one of key and secret"),
    ('[places.lake]\nurl = "s3://b"\nkey_env = "GONE"\nsecret = "b"', r"places\.lake\.key_env names variable 'GONE'"),
    ('[places.lake]\nurl = "s3://b"\nkey = "a"\nkey_env = "SET"', r"places\.lake has both key and key_env"),
    ('[places.lake]\nurl = "s3://b"\nregion = 4', r"places\.lake\.region must be a text"),
    ('[places.lake]\nurl = "s3://b"\nprojects = "lab"', r"places\.lake\.projects must be a list of names"),
    ('[places.web]\nurl = "http://far.example/x"\ntoken = "a"', r"places\.web\.token would cross the network"),
    ('[places."a b"]\nurl = "s3://b"', r"places\.a b: a name has"),
    ('[lake]\nurl = "s3://b"', r"has 'lake' where tables"),
    ("[places.lake", "is no TOML"),
])
def test_the_entry_at_fault_is_named(tmp_path: Path, text: str, words: str):
    with pytest.raises(ConfigurationError, match=words):
        read(tmp_path, text, SET="x")


def test_no_message_shows_a_secret(tmp_path: Path):
    with pytest.raises(ConfigurationError) as raised:
        read(tmp_path, f'[places.lake]\nurl = "s3://b"\nsecret = "{SECRET}"\nother = "{SECRET}"')
    assert SECRET not in raised.value.message


def test_a_home_without_a_file_has_no_places_and_a_named_file_must_be_there(tmp_path: Path):
    assert places_of(Settings(home=tmp_path)).by_name == {}
    with pytest.raises(ConfigurationError, match="cannot be read"):
        places_of(Settings(home=tmp_path, places=tmp_path / "gone.toml"))


def test_an_empty_setting_names_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HEADRACE_PLACES", "")
    assert places_of(Settings(home=tmp_path)).by_name == {}


def test_the_homes_file_is_read_anew_each_time(tmp_path: Path):
    settings = Settings(home=tmp_path)
    (tmp_path / "places.toml").write_text('[places.a]\nurl = "file:///a"')
    assert set(places_of(settings).by_name) == {"a"}
    (tmp_path / "places.toml").write_text('[places.b]\nurl = "file:///b"')
    assert set(places_of(settings).by_name) == {"b"}
    assert places_of(settings).cache_folder == str(tmp_path / "cache" / "blocks")


def test_a_place_that_nobody_named_is_told_with_those_that_are(tmp_path: Path):
    (tmp_path / "places.toml").write_text('[places.lake]\nurl = "s3://b"')
    places = places_of(Settings(home=tmp_path))
    assert get_place(places, "lake").name == "lake"
    with pytest.raises(InvalidValue, match=r"place 'sea' is not one .* \(lake\)"):
        get_place(places, "sea")


def test_a_place_is_open_to_all_projects_or_to_those_that_are_named(tmp_path: Path):
    (tmp_path / "places.toml").write_text('[places.all]\nurl = "file:///a"\n[places.some]\nurl = "file:///b"\n'
                                          'projects = ["lab", "ops"]\n[places.none]\nurl = "file:///c"\nprojects = []')
    settings = Settings(home=tmp_path)
    assert set(open_to_clients(settings, "lab").by_name) == {"all", "some"}
    assert set(open_to_clients(settings, "other").by_name) == {"all"}
    assert "projects" not in str(places_of(settings).to_json())
