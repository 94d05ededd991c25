"""`config plan`, `config reload`: what a running adapter would change, or has changed."""

import json
from typing import Any

from rich.console import Console

from adapter.client.api import Access, ApiError, call

RELOAD = "/api/config/reload"
PLAN, PLAN_DOCUMENT = f"{RELOAD}?dry_run=true", "/api/config/plan"


def reload_configuration(access: Access, route: str, document: Any = None, *, as_json: bool) -> int:
    """Have it done and print what changes, a line for each key; return the exit code."""
    out, err = _plain(to_stderr=False), _plain(to_stderr=True)
    try:
        plan = call(access, "POST", route, document)
    except ApiError as error:
        err.print(str(error))
        return 1
    if as_json:
        out.print(json.dumps(plan))
        return 0
    for change in plan["changes"]:
        note = "    # needs a restart" if change["restart"] else ""
        out.print(f"{change['key']}: {_shown(change['old'])} -> {_shown(change['new'])}{note}")
    for one in plan["entities"]:
        what = f"{one['does']}: {one['left']}" if one["left"] else one["does"]
        out.print(f"{one['kind']} {one['name']} {what}")
    if not plan["changes"] and not plan["entities"]:
        out.print("nothing changes")
    for warning in plan["warnings"]:
        err.print(f"warning: {warning}")
    if waiting := [change["key"] for change in plan["changes"] if change["restart"]]:
        err.print(f"a restart is needed for {', '.join(waiting)}")
    return 0


def _plain(*, to_stderr: bool) -> Console:
    return Console(stderr=to_stderr, soft_wrap=True, markup=False, highlight=False)


def _shown(value: Any) -> str:
    return "(absent)" if value is None else json.dumps(value, ensure_ascii=False)
