"""`config plan`, `config reload`: what a running adapter would change, or has changed."""

import json
from typing import Any

from rich.console import Console

from adapter.client.api import Access, ApiError, call


def reload_configuration(access: Access, query: str, *, as_json: bool) -> int:
    """Have it done and print what changes, a line for each key; return the exit code."""
    out, err = _plain(to_stderr=False), _plain(to_stderr=True)
    try:
        plan = call(access, "POST", f"/api/config/reload{query}")
    except ApiError as error:
        err.print(str(error))
        return 1
    if as_json:
        out.print(json.dumps(plan))
        return 0
    for change in plan["changes"]:
        note = "    # needs a restart" if change["restart"] else ""
        out.print(f"{change['key']}: {_shown(change['old'])} -> {_shown(change['new'])}{note}")
    if not plan["changes"]:
        out.print("nothing changes")
    return 0


def _plain(*, to_stderr: bool) -> Console:
    return Console(stderr=to_stderr, soft_wrap=True, markup=False, highlight=False)


def _shown(value: Any) -> str:
    return "(absent)" if value is None else json.dumps(value, ensure_ascii=False)
