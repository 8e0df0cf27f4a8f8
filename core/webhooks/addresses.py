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
GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
"""All that was ever given out of IPv6 (RFC 4291)."""
_CARRYING_IPV4 = tuple(map(ipaddress.IPv6Network, ("::ffff:0:0/96", "64:ff9b::/96")))
"""IPv4-mapped, and NAT64's well-known prefix (RFC 6052): they are the IPv4 address that they end in."""
_SPECIAL = tuple(map(ipaddress.ip_network, ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2002::/16", "3fff::/20")))
"""What routers and tunnels answer to, some of it public by the registry: protocol assignments with the anycast addresses of
the nearest NAT (RFC 6890), 6to4 with its relays (RFC 3056), Teredo (RFC 4380); and documentation (RFC 9637)."""
_ISATAP = (0x00005EFE, 0x02005EFE)
"""How the interface part of an address begins that carries an IPv4 address of its site (RFC 5214)."""


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet's, also by the IPv4 address that it may carry."""
    try:
        told = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(told, IPv6Address):
        if not any(told in network for network in _CARRYING_IPV4):
            return told in GLOBAL_UNICAST and int(told) >> 32 & 0xFFFFFFFF not in _ISATAP and _is_plain(told)
        told = IPv4Address(int(told) & 0xFFFFFFFF)
    return _is_plain(told)


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


def _is_plain(address: IPv4Address | IPv6Address) -> bool:
    return address.is_global and not address.is_multicast and not any(address in network for network in _SPECIAL)


def _refused(url: str, expected: str) -> InvalidValue:
    return InvalidValue(f"the webhook address {shown(url)} cannot be used: {expected}", param="url")
