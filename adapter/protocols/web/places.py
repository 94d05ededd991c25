"""How many connections the API takes, of one address and of all."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from adapter.domain.failed_logins import network_of


@dataclass(slots=True)
class Places:
    """Counts connections; one that has no place is closed."""

    most: int = 1024
    most_per_address: int = 0
    """0: as many as there are."""
    taken: int = 0
    refused: int = 0
    _by_network: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def place(self, address: str) -> Iterator[bool]:
        """Take a place for as long as the block lasts; False: there is none."""
        network = network_of(address)
        full = 0 < self.most_per_address <= self._by_network[network]
        if full or self.taken >= self.most:
            self.refused += 1
            yield False
            return
        self.taken += 1
        self._by_network[network] += 1
        try:
            yield True
        finally:
            self.taken -= 1
            self._by_network[network] -= 1
            if not self._by_network[network]:
                del self._by_network[network]
