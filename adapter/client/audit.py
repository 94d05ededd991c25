"""`audit verify`: whether the entries of an audit trail are what they were."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adapter.client.api import Access, ApiError, call
from adapter.domain.audit_chain import Broken, first_broken, missing_at_first
from adapter.errors import ConfigurationError

PAGE = 1000


def verify_running(access: Access, expected: Sequence[str]) -> int:
    """Verify what an adapter has; return the exit code."""
    try:
        rows = _all(access)
    except ApiError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return _told(rows, first_broken(rows) or missing_at_first(rows), expected)


def verify_export(export: Path, expected: Sequence[str]) -> int:
    """Verify an export; return the exit code.

    Raises:
        ConfigurationError: It is none.
    """
    try:
        rows = json.loads(export.read_text("utf-8"))
        broken = first_broken(rows)
    except OSError as error:
        raise ConfigurationError([f"{export}: {error.strerror}"]) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigurationError([f"{export}: is no export of an audit trail"]) from error
    return _told(rows, broken, expected)


def _all(access: Access) -> list[dict[str, Any]]:
    """Return every entry; ask by number: while we ask, older ones may be forgotten."""
    rows: list[dict[str, Any]] = []
    while True:
        after = rows[-1]["seq"] if rows else 0
        page = call(access, "GET", f"/api/audit?after={after}&limit={PAGE}")
        rows += page
        if len(page) < PAGE:
            return rows


def _told(rows: list[dict[str, Any]], broken: Broken | None, expected: Sequence[str]) -> int:
    if broken is not None:
        sys.stderr.write(f"entry {broken.seq} ({broken.kind}) {broken.why}\n")
        return 1
    links = {f"{row['seq']}:{row['hash']}" for row in rows}
    if absent := [one for one in expected if one not in links]:
        sys.stderr.write(f"entry {absent[0]} is not among the {len(rows)} entries\n")
        return 1
    sys.stdout.write(f"{len(rows)} entries, unbroken")
    for kind in sorted({row["kind"] for row in rows}):
        latest = [row for row in rows if row["kind"] == kind][-1]
        sys.stdout.write(f"\n{kind}: {latest['seq']}:{latest['hash']}")
    sys.stdout.write("\n")
    return 0
