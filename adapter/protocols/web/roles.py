"""What a route says about who may use it: `opt=` of its decorator (tests/unit/test_roles.py)."""

from typing import Any

from adapter.domain.access import Role

ROLE = "role"
OPEN: dict[str, Any] = {ROLE: Role.OPEN}
"""No key is asked for: it tells nothing of this installation."""
VIEWER: dict[str, Any] = {ROLE: Role.VIEWER}
"""Shows something."""
OPERATOR: dict[str, Any] = {ROLE: Role.OPERATOR}
"""Orders about what is in hand."""
ADMINISTRATOR: dict[str, Any] = {ROLE: Role.ADMINISTRATOR}
"""What the adapter is: its configuration, keys, log levels."""
