"""Which addresses a webhook may go to."""

from __future__ import annotations

import pytest

from core.errors import InvalidValue
from core.webhooks.addresses import check_url, is_public

PUBLIC = ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2001:4860:4860::8888"]
PRIVATE = ["127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254", "224.0.0.1", "0.0.0.0", "::1",
           "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fec0::1", "ff02::1", "2001:db8::1", "192.0.2.1", "198.18.0.1",
           "240.0.0.1", "255.255.255.255", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
           "64:ff9b:1::a00:1", "2002:7f00:1::", "2001:0:7f00:1::1", "no address", "192.0.0.8", "192.0.0.9", "192.88.99.1",
           "::ffff:0:127.0.0.1", "::ffff:0:8.8.8.8", "64:ff9b:1:a00:0:100:101:101", "64:ff9b:1::808:808", "::8.8.8.8",
           "2002:808:808::", "2001::1", "2001:1::1", "2606:4700::5efe:a00:1", "2606:4700::200:5efe:10.0.0.1", "ff0e::1",
           "3fff::1", "100::1", "5f00::1", "4000::1", "::ffff:192.0.0.9", "64:ff9b::6440:1", "2a00::5efe:808:808"]
REFUSED = ["http://a.example/", "ftp://a.example/", "https://", "https:///path", "a.example", "https://user@a.example/",
           "https://user:word@a.example/", "https://a.example/#part", "https://a.example:0/", "https://a.example:70000/",
           "https://[::1/", "https://a.example/a b", "https://a.example/\n", "https://mühle.example/", "https://localhost/",
           "https://x.localhost/", "https://db.internal/", "https://nas.local./", "https://127.0.0.1/", "https://[::1]:8443/",
           "https://2130706433/", "https://127.1/", "https://a.example/" + "x" * 2048]


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_known(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", PRIVATE)
def test_no_private_address_is_taken_for_a_public_one(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("url", ["https://a.example", "https://a.example:8443/hooks?key=1", "https://8.8.8.8/",
                                 "https://[2606:4700::1]/"])
def test_a_public_url_is_taken(url: str) -> None:
    check_url(url, is_private_allowed=False)


@pytest.mark.parametrize("url", REFUSED)
def test_any_other_is_refused_in_words(url: str) -> None:
    with pytest.raises(InvalidValue, match="cannot be used: ") as caught:
        check_url(url, is_private_allowed=False)
    assert caught.value.param == "url"
    assert len(caught.value.message) < 300


@pytest.mark.parametrize("url", ["http://127.0.0.1:9000/", "http://localhost/", "https://nas.local/"])
def test_the_operator_may_allow_private_ones(url: str) -> None:
    check_url(url, is_private_allowed=True)
