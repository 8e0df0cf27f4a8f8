"""Which addresses a webhook may go to: public ones over https, unless the operator allows private ones.

A name is judged here by its looks alone. What it resolves to is judged by `sending`, at the socket that was connected, so
that no answer of a name server given in between can lead elsewhere.
"""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import SplitResult, urlsplit

from core.errors import InvalidValue, shown

MOST_CHARACTERS = 2048
PRIVATE_SUFFIXES = ("localhost", ".localhost", ".local", ".internal")
_ENDING_IN_IPV4 = tuple(ipaddress.ip_network(network) for network in ("64:ff9b::/96", "::/96"))
"""NAT64 (RFC 6052), and the IPv4-compatible addresses of old (RFC 4291)."""
_TRANSLATED = tuple(ipaddress.ip_network(network) for network in ("64:ff9b:1::/48", "::ffff:0:0:0/96"))
"""What a network translates to IPv4 addresses by a rule of its own (RFC 8215), or of old (RFC 2765): nobody here can tell to
which."""


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet's, also by the IPv4 address that it may carry within."""
    try:
        told = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(told, IPv6Address) and (told.is_site_local or any(told in network for network in _TRANSLATED)):
        return False
    return all(each.is_global and not each.is_multicast for each in (told, *_carried(told)))


def check_url(url: str, *, is_private_allowed: bool) -> None:
    """Raise InvalidValue (param `url`) for an address that nothing may be sent to."""
    if len(url) > MOST_CHARACTERS or not url.isascii() or any(character <= " " or character == "\x7f" for character in url):
        raise _refused(url, f"expected at most {MOST_CHARACTERS} ASCII characters without spaces")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _refused(url, f"it is no URL ({error})") from error
    _check_parts(url, parts, port, is_private_allowed=is_private_allowed)


def _check_parts(url: str, parts: SplitResult, port: int | None, *, is_private_allowed: bool) -> None:
    schemes = ("https", "http") if is_private_allowed else ("https",)
    if parts.scheme not in schemes:
        raise _refused(url, f"expected one that begins with {' or '.join(f'{scheme}://' for scheme in schemes)}")
    if not parts.hostname or port == 0:
        raise _refused(url, "expected the name of a host, and a port of 1 to 65535 if any")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise _refused(url, "expected neither a user, nor a password, nor a fragment; deliveries are signed instead")
    if not is_private_allowed and _looks_private(parts.hostname):
        raise _refused(url, "it is of a private network; expected a public one, or let the operator set "
                            "HEADRACE_PRIVATE_WEBHOOKS=true")


def _looks_private(host: str) -> bool:
    host = host.rstrip(".").lower()
    if ":" in host or host.replace(".", "").isdigit():
        return not is_public(host)
    return host == PRIVATE_SUFFIXES[0] or host.endswith(PRIVATE_SUFFIXES[1:])


def _carried(address: IPv4Address | IPv6Address) -> list[IPv4Address | IPv6Address]:
    """The IPv4 addresses within an IPv6 one: mapped, of 6to4 (RFC 3056), of Teredo (RFC 4380), and those it ends in."""
    if not isinstance(address, IPv6Address):
        return []
    found: list[IPv4Address | IPv6Address] = [each for each in (address.ipv4_mapped, address.sixtofour) if each is not None]
    found += address.teredo or ()
    if any(address in network for network in _ENDING_IN_IPV4):
        found.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return found


def _refused(url: str, expected: str) -> InvalidValue:
    return InvalidValue(f"the webhook address {shown(url)} cannot be used: {expected}", param="url")
