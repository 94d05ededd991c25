"""`keys`: orders about the keys of a running adapter."""

import sys
from typing import Any

import msgspec

from adapter.client.api import Access, call
from adapter.client.kinds import KEYS
from adapter.client.rows import told


def create(access: Access, name: str, role: str, days: int, *, as_json: bool) -> int:
    """Make a key and print it; return the exit code."""
    wanted = {"name": name, "role": role, "days": days}
    return told(
        lambda: call(access, "POST", KEYS.route, wanted),
        lambda made: show_made(made, as_json=as_json),
    )


def show_made(made: dict[str, Any], *, as_json: bool) -> int:
    """Print a key that was made: it alone on stdout, for `$(...)`, the rest on stderr."""
    if as_json:
        sys.stdout.write(msgspec.json.encode(made).decode() + "\n")
        return 0
    until = f"until {made['expiresAt']}" if made["expiresAt"] else "for ever"
    sys.stderr.write(
        f"key {made['id']} of {made['name']!r}, {made['role']}, {until}; it is not shown again:\n"
    )
    sys.stdout.write(f"{made['key']}\n")
    return 0


def revoke(access: Access, key_id: str) -> int:
    """Revoke a key; return the exit code."""
    return told(
        lambda: call(access, "DELETE", KEYS.path(key_id)),
        lambda key: sys.stdout.write(f"{key['id']}: revoked\n"),
    )
