"""How often wrong keys may be tried. Pure: time is an argument.

A right key is always taken. It cannot be guessed, however often somebody tries; but who tries could
otherwise lock out everybody behind the same proxy. What the limit spares is our log, our audit
trail and our processor.
"""

import ipaddress

ADDRESS_TRIES = 10
ALL_TRIES = 100
PERIOD_S = 60.0
"""In so much time so many tries come back."""
ADDRESSES_MAX = 10_000
_IPV6_NETWORK_BITS = 64


class _Tries:
    __slots__ = ("_at", "_left", "_most")

    def __init__(self, most: int, now: float) -> None:
        self._most = most
        self._left = float(most)
        self._at = now

    def wait_s(self, now: float) -> float:
        """Return how long until there is one."""
        self._left = min(self._most, self._left + (now - self._at) * self._most / PERIOD_S)
        self._at = now
        return 0.0 if self._left >= 1 else (1 - self._left) * PERIOD_S / self._most

    def take(self) -> None:
        self._left -= 1


class FailedLogins:
    """Remembers who has shown wrong keys."""

    def __init__(self) -> None:
        self.count = 0
        self._all: _Tries | None = None
        self._addresses: dict[str, _Tries] = {}

    def wait_s(self, address: str, now: float) -> float:
        """Count a wrong key; return 0, or how long it is to the next try if there were too many."""
        self.count += 1
        network = network_of(address)
        own = self._addresses.pop(network, None) or _Tries(ADDRESS_TRIES, now)
        self._addresses[network] = own  # the latest is the last
        if len(self._addresses) > ADDRESSES_MAX:
            del self._addresses[next(iter(self._addresses))]
        if self._all is None:
            self._all = _Tries(ALL_TRIES, now)
        wait_s = max(own.wait_s(now), self._all.wait_s(now))
        if not wait_s:
            own.take()
            self._all.take()
        return wait_s


def network_of(address: str) -> str:
    """Return an address, of IPv6 its network: whoever has one address of it has them all."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if ip.version == 4:
        return address
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(ipaddress.ip_network((ip, _IPV6_NETWORK_BITS), strict=False))
