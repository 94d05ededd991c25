"""Which user identities (PS3.7 D.3.3.7) are believed, and the salted hashes that prove them.

Rules: what a peer presents is compared and forgotten; it enters no log, event, metric or `repr`. A
hash takes a core for about 50 ms on purpose: no event loop may wait for one.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta

from adapter.domain.admission import UserIdentity
from adapter.domain.rejections import Why

USERNAME_AND_PASSCODE = 2  # PS3.7 D.3.3.7.1

_N, _R, _P = 1 << 14, 8, 1  # RFC 7914: 16 MiB each
SALT_BYTES = 16
_DIGEST_BYTES = 32

PasscodeHash = Annotated[
    str, Meta(pattern=r"^scrypt\$[A-Za-z0-9+/]{22}==\$[A-Za-z0-9+/]{43}=$(?!\n)")
]


def objection(identity: UserIdentity | None) -> Why | None:
    """Return why this identity cannot even be checked; None: `is_known` will tell."""
    if identity is None:
        return Why.NO_IDENTITY
    if identity.kind != USERNAME_AND_PASSCODE:
        return Why.IDENTITY_KIND
    return None


def hash_passcode(passcode: bytes, salt: bytes) -> str:
    """Return the line to keep for a passcode. Takes about 50 ms.

    Args:
        passcode: The bytes the peer will send.
        salt: 16 random ones.
    """
    assert len(salt) == SALT_BYTES
    digest = hashlib.scrypt(passcode, salt=salt, n=_N, r=_R, p=_P, dklen=_DIGEST_BYTES)
    return "$".join(("scrypt", *(base64.b64encode(part).decode() for part in (salt, digest))))


def is_known(identity: UserIdentity, users: Mapping[str, str]) -> bool:
    """Return whether the passcode is that of the user. Takes as long for a name nobody has.

    Args:
        identity: To which there is no `objection`.
        users: Name -> what `hash_passcode` returned.
    """
    name = identity.primary.decode("utf-8", "replace")
    expected = users.get(name)
    salt = base64.b64decode(expected.split("$")[1]) if expected else bytes(SALT_BYTES)
    presented = hash_passcode(identity.secondary, salt)
    return hmac.compare_digest(presented, expected or "")
