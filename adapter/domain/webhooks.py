"""Webhooks in the configuration, and how what they are told is signed.

Headers and signature are those of Standard Webhooks 1.0 (standardwebhooks.com), so that receivers
have libraries for them: HMAC-SHA256 (RFC 2104) over id, time and body.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal, Protocol

from msgspec import Meta, Struct
from msgspec import field as struct_field

from adapter.domain.entities import DestinationTls, FilePath, Name
from adapter.domain.http_endpoint import Seconds, is_endpoint

WEBHOOKS_MAX = 32
SECRET_PREFIX = "whsec_"  # noqa: S105 - says that base64 follows
Topic = Literal[
    "association", "instance", "group", "job", "task", "export", "commitment", "destination",
    "storage", "actor", "config", "kubernetes",
]  # fmt: skip
TOPICS_UNLESS_SAID: tuple[Topic, ...] = (
    "association", "group", "job", "task", "export", "destination", "storage", "actor", "config",
    "kubernetes",
)  # fmt: skip
"""All but the ones of which there may be thousands in a second."""


class Webhook(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Somebody who is told of events by HTTP POST."""

    name: Name
    url: Annotated[str, Meta(max_length=2048)]
    topics: list[Topic] = struct_field(default_factory=lambda: list(TOPICS_UNLESS_SAID))
    secret_file: Annotated[FilePath, Meta(min_length=1)]
    """What it holds signs what is sent; read for each delivery."""
    tls: DestinationTls = struct_field(default_factory=DestinationTls)
    connect_s: Seconds = 10.0
    answer_s: Seconds = 10.0
    max_retries: Annotated[int, Meta(ge=0, le=1000)] = 10
    """Of one delivery, later and later, up to 5 minutes apart."""


def webhook_problems(webhooks: Sequence[Webhook]) -> Iterator[str]:
    """Yield what is wrong between the keys of `webhooks`."""
    if len(webhooks) > WEBHOOKS_MAX:
        yield f"webhooks: {len(webhooks)} are more than {WEBHOOKS_MAX}"
    names = [hook.name for hook in webhooks]
    yield from (
        f"webhooks: name {name!r} is used twice"
        for name in sorted({name for name in names if names.count(name) > 1})
    )
    for index, hook in enumerate(webhooks):
        here = f"webhooks[{index}]"
        if not is_endpoint(hook.url):
            yield (
                f"{here}.url = {hook.url!r}: is no address such as https://ris.example.org/hook, "
                "without user, query and fragment"
            )
        if hook.tls.key and not hook.tls.certificate:
            yield f"{here}.tls.key: a key needs its certificate"


def signature(secret: str, identity: str, timestamp: int, body: bytes) -> str:
    """Return the value of `webhook-signature`."""
    signed = b"%b.%d.%b" % (identity.encode(), timestamp, body)
    digest = hmac.digest(_key(secret), signed, hashlib.sha256)
    return f"v1,{base64.b64encode(digest).decode()}"


def _key(secret: str) -> bytes:
    """Return the bytes of a secret: base64 behind `whsec_`, else its text."""
    if secret.startswith(SECRET_PREFIX):
        try:
            return base64.b64decode(secret[len(SECRET_PREFIX) :], validate=True)
        except binascii.Error:
            pass  # it only looks like one
    return secret.encode()


class HookClient(Protocol):
    """Posts to one webhook."""

    async def post(self, identity: str, timestamp: int, body: bytes) -> int:
        """Post a signed delivery; return the status of the answer.

        Raises:
            UnavailableError: There is none, or the secret cannot be read.
        """

    async def close(self) -> None:
        """Close idle connections."""


@dataclass(slots=True)
class HookFigures:
    """Of one webhook, since the process began."""

    delivered: int = 0
    retried: int = 0
    given_up: int = 0
    """Deliveries that were refused, or tried for the last time."""
    outage: str = ""
    """Why the delivery in hand has not arrived; empty: nothing is wrong."""


@dataclass(frozen=True, slots=True)
class Hook:
    """A webhook with what reaches it."""

    settings: Webhook
    client: HookClient
    figures: HookFigures = field(default_factory=HookFigures)


HookEdges = Mapping[str, Hook]
"""By name."""
