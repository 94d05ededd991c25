"""Which peers the host entry of a source covers, and who looks up its names."""

import ipaddress
from typing import Protocol


def address_matches(host: str, peer: str, resolved: frozenset[str]) -> bool:
    """Return whether the peer's numeric address is covered by a source's host entry.

    Args:
        host: Address, CIDR or name as configured.
        peer: The peer's numeric address; an IPv4-mapped IPv6 address counts as IPv4.
        resolved: The numeric addresses that `host` resolves to, if it is a name.
    """
    address = _address(peer)
    network = network_of(host)
    if network is None:
        return any(_address(one) == address for one in resolved)
    zone = host.partition("%")[2].partition("/")[0]  # fe80::1 of another link is another machine
    return address in network and zone in ("", getattr(address, "scope_id", None))


def network_of(host: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """Return the addresses a source's host entry covers; None: it is a name."""
    try:
        return ipaddress.ip_network(host, strict=False)
    except ValueError:
        return None


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    address = ipaddress.ip_address(text)
    return getattr(address, "ipv4_mapped", None) or address


class Resolver(Protocol):
    """Looks up host names."""

    async def __call__(self, host: str, /) -> frozenset[str]:
        """Return the numeric addresses of host.

        Raises:
            UnavailableError: The name is not known, or nobody answers.
        """
