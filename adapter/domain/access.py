"""Who may use the API: roles, and keys that stand for one.

A key is a random token of 256 bits. What is kept of it is its SHA-256: a slow hash is for secrets
that people choose, and there is nothing to guess here (NIST SP 800-63B 5.1.2.2 asks for salt and
cost below 112 bits of entropy only).
"""

import base64
import hashlib
import hmac
import re
from enum import StrEnum
from typing import Annotated, Any, Literal, Protocol

from msgspec import Meta, Struct

from adapter.domain.wall_time import rfc3339

KEYS_MAX = 1000
"""Usable or not; of more the ones that ended first are forgotten."""
SECRET_BYTES = 32
ID_BYTES = 4
DRAWN_BYTES = ID_BYTES + SECRET_BYTES
DAY_S = 86_400.0
KeyName = Annotated[
    str,
    Meta(
        min_length=1, max_length=64, pattern=r"^[A-Za-z0-9]([A-Za-z0-9 ._@-]*[A-Za-z0-9])?$(?!\n)"
    ),
]
_TOKEN = re.compile(r"da-([0-9a-f]{8})-[A-Za-z0-9_-]{43}", re.ASCII)


class Role(StrEnum):
    """What a caller may do; each may do what those before it may."""

    OPEN = "open"
    """Of routes only: no key is asked for."""
    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMINISTRATOR = "administrator"

    def includes(self, other: "Role") -> bool:
        """Return whether who has this role may do what the other one may."""
        order = list(Role)
        return order.index(self) >= order.index(other)


class ApiKey(Struct, frozen=True, kw_only=True):
    """A key, without its secret."""

    id: str
    name: str
    role: Role
    digest: str
    """SHA-256 of the token, in hexadecimal."""
    made_at: float
    made_by: str
    expires_at: float = 0.0
    """POSIX seconds; 0: never."""
    revoked_at: float = 0.0
    """0: it is not."""

    def ended_at(self, now: float) -> float:
        """Return since when it is of no use; 0: it is of use."""
        expired_at = self.expires_at if 0 < self.expires_at <= now else 0.0
        return min(filter(None, (self.revoked_at, expired_at)), default=0.0)


class NewKey(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key that is wanted."""

    name: KeyName
    role: Literal["viewer", "operator", "administrator"]
    days: Annotated[int, Meta(ge=0, le=3650)] = 365
    """Until it expires; 0: it does not."""


class Caller(Struct, frozen=True, kw_only=True):
    """Who makes a request."""

    name: str
    """Of the key; "loopback" or "anybody" where no keys are asked for."""
    role: Role
    address: str
    key_id: str = ""


class KeyLedger(Protocol):
    """The keys; changes are durable before a method returns. Errors as of `Ledger`."""

    def find(self, key_id: str) -> ApiKey | None:
        """Return the key with this id."""

    def all(self) -> list[ApiKey]:
        """Return every key, in the order in which they were made."""

    async def put(self, key: ApiKey) -> None:
        """Add a key, or replace the one with its id."""

    async def remove(self, key_id: str) -> None:
        """Forget a key; again is harmless."""


def make_key(
    wanted: NewKey, keys: KeyLedger, now: float, made_by: str, drawn: bytes
) -> tuple[ApiKey, str]:
    """Return a new key, and the token that its owner shows: a word in a header or a subprotocol.

    Args:
        wanted: What it is to be.
        keys: Those there are.
        now: POSIX seconds.
        made_by: Name of who asks for it.
        drawn: `DRAWN_BYTES` from a source of secrets.

    Raises:
        ValueError: There is a usable one of that name, or there are too many.
    """
    usable = [key for key in keys.all() if not key.ended_at(now)]
    if any(key.name == wanted.name for key in usable):
        raise ValueError(f"a key named {wanted.name!r} is in use")
    if len(usable) >= KEYS_MAX:
        raise ValueError(f"there are {KEYS_MAX} already")
    assert len(drawn) == DRAWN_BYTES
    key_id, secret = drawn[:ID_BYTES].hex(), drawn[ID_BYTES:]
    token = f"da-{key_id}-{base64.urlsafe_b64encode(secret).decode().rstrip('=')}"
    key = ApiKey(
        id=key_id, name=wanted.name, role=Role(wanted.role), digest=digest_of(token),
        made_at=now, made_by=made_by, expires_at=now + wanted.days * DAY_S if wanted.days else 0.0,
    )  # fmt: skip
    return key, token


def superfluous(keys: KeyLedger, now: float) -> list[ApiKey]:
    """Return the keys of no use that there is no room for, those that ended first."""
    everything = keys.all()
    ended = sorted((key for key in everything if key.ended_at(now)), key=lambda k: k.ended_at(now))
    return ended[: max(0, len(everything) - KEYS_MAX)]


def digest_of(token: str) -> str:
    """Return what is kept of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


_NOBODYS = digest_of("")


def key_of(token: str, keys: KeyLedger, now: float) -> ApiKey | None:
    """Return the key that a token is, if it is of use now; None takes as long."""
    found = _TOKEN.fullmatch(token)
    key = keys.find(found[1]) if found else None
    matches = hmac.compare_digest(digest_of(token), key.digest if key else _NOBODYS)
    return key if key is not None and matches and not key.ended_at(now) else None


def shown(key: ApiKey, now: float) -> dict[str, Any]:
    """Return a key as people see it."""
    return {
        "id": key.id,
        "name": key.name,
        "role": key.role,
        "usable": not key.ended_at(now),
        "madeAt": rfc3339(key.made_at),
        "madeBy": key.made_by,
        "expiresAt": rfc3339(key.expires_at) if key.expires_at else None,
        "revokedAt": rfc3339(key.revoked_at) if key.revoked_at else None,
    }
