"""AE Titles, sources, destinations and workflows of Clara's configurations."""

import re
from collections.abc import Mapping
from typing import Any

from msgspec import structs

from adapter.clara.converted import Converted, tag_of
from adapter.clara.forms import Form, Found, Table
from adapter.domain.conversion import Reader
from adapter.domain.entities import (
    PRIORITY_ORDER,
    ApplicationEntity,
    Destination,
    Source,
    UIDText,
)
from adapter.domain.processors import PIPELINE, TIMEOUT_S_MIN_CLARA, is_of_clara
from adapter.relations import relations

_TRUTHS = {"true": True, "false": False}
_NAME_LENGTH_MAX = 64


def carry_parties(form: Form, converted: Converted) -> None:
    """Carry destinations first: AE Titles name them."""
    scp, scu = form.adapter.table("dicom").table("scp"), form.adapter.table("dicom").table("scu")
    names = _Names(converted)
    for table in scu.take_tables("destinations"):
        _carry_destination(table, converted, names)
    for table in scp.take_tables("sources"):
        _add(converted, "sources", _pairs(table, ("ae_title", "ae-title"), ("host", "host-ip")),
             Source, table)  # fmt: skip
    workflows = _Workflows(form.adapter, converted, names.made)
    names = _Names(converted)
    for table in scp.take_tables("ae-titles"):
        entity = _entity(table, converted, names)
        if form.is_yaml:
            _carry_yaml(table, entity, converted)
        else:
            _carry_settings(table, entity, converted)
        workflows.join(entity)
        if not entity["pipelines"]:
            converted.lost(table.path, "it has no pipeline, so nothing would become of instances")
            continue
        _add(converted, "application_entities", entity, ApplicationEntity, table)
    workflows.tell_the_rest()


def _pairs(table: Table, *keys: tuple[str, str]) -> dict[str, Any]:
    """Return the values that are there under our names."""
    found = ((ours, table.take(theirs)) for ours, theirs in keys)
    return {ours: one.value for ours, one in found if one is not None}


def _add(converted: Converted, key: str, values: dict[str, Any], kind: Any, table: Table) -> bool:
    """Take in one more of a list, if it is right by itself and beside the others."""
    for path in table.left():
        converted.lost(path, "is no key of Clara's that is known here")
    reader = Reader()
    read = reader.read(values, kind)
    problems = reader.problems
    if read is not None:
        settings = converted.settings()
        before = set(relations(settings))
        others = getattr(settings, key)
        more = relations(structs.replace(settings, **{key: [*others, read]}))
        own = f"{key}[{len(others)}]."
        problems = [line.removeprefix(own) for line in more if line not in before]
    if problems:
        converted.lost(table.path, "; ".join(problems))
        return False
    converted.put(key, [*converted.tree.get(key, ()), values])
    return True


class _Names:
    """Names in our form, each used once."""

    def __init__(self, converted: Converted) -> None:
        self._converted = converted
        self.made: dict[str, str] = {}
        """By what Clara called them."""

    def made_of(self, text: str, path: str) -> str:
        """Return a name for what Clara called so."""
        name = re.sub(r"[^A-Za-z0-9_.-]+", "-", text)[:_NAME_LENGTH_MAX].lstrip("_.-") or "unnamed"
        number, first = 1, name
        while name in self.made.values():
            number += 1
            name = f"{first[: _NAME_LENGTH_MAX - 5]}-{number}"
        self.made[text] = name
        if name != text:
            self._converted.note(path, f"{text!r} is called {name!r} here")
        return name


def _carry_destination(table: Table, converted: Converted, names: _Names) -> None:
    values = _pairs(
        table, ("name", "name"), ("ae_title", "ae-title"), ("host", "host-ip"), ("port", "port")
    )
    called = str(values.get("name", values.get("ae_title", "")))
    if isinstance(values.get("port"), str) and values["port"].strip().isdecimal():
        values["port"] = int(values["port"])
    _add(converted, "destinations", {**values, "name": names.made_of(called, table.path)},
         Destination, table)  # fmt: skip


def _entity(table: Table, converted: Converted, names: _Names) -> dict[str, Any]:
    """Return what every form says of an AE Title."""
    values = {"ae_title": "ClaraSCP", **_pairs(table, ("ae_title", "ae-title"))}
    if found := table.take("ignored-sop-classes"):
        uids = found.value if isinstance(found.value, list) else [found.value]
        bad = [uid for uid in uids if Reader().read(uid, UIDText) is None]
        for uid in bad:
            converted.lost(found.path, f"{uid!r} is no UID")
        values["ignored_sop_classes"] = [uid for uid in uids if uid not in bad]
    name = table.take("name")
    called = str(name.value) if name else str(values["ae_title"])
    entity = {"name": names.made_of(called.strip(), table.path), **values, "pipelines": {}}
    if found := table.take("overwrite-same-instance"):
        truth = _TRUTHS.get(str(found.value).casefold())
        if truth is None:
            converted.lost(found.path, f"{found.value!r} is neither true nor false")
        else:
            entity["overwrite_same_instance"] = truth
    return entity


def _tell_foreign_processors(found: Found | None, converted: Converted) -> None:
    """Say which processors are not Clara's own."""
    values = (
        [] if found is None else found.value if isinstance(found.value, list) else [found.value]
    )
    for one in (each for each in values if not is_of_clara(str(each))):
        assert found is not None
        converted.lost(found.path, f"{one!r} needs a plug-in of ours; see docs/plugins.md")


# --- appsettings.json


def _carry_settings(table: Table, entity: dict[str, Any], converted: Converted) -> None:
    """Carry what Clara's AE Title Job Processor was told."""
    _tell_foreign_processors(table.take("processor"), converted)
    settings = table.take("processor-settings")
    values = settings.value if settings and isinstance(settings.value, dict) else {}
    for key, value in values.items():
        if why := _carry_setting(key, value, entity):
            assert settings is not None
            converted.lost(f"{settings.path}.{key}", why)
    if entity.get("timeout_s") == TIMEOUT_S_MIN_CLARA:
        del entity["timeout_s"]  # our default as well


def _carry_setting(key: str, value: Any, entity: dict[str, Any]) -> str:
    """Return why it is not carried; empty: it is."""
    text = str(value).strip()
    match key.casefold():
        case "timeout" if text.isdecimal():
            entity["timeout_s"] = float(max(int(text), TIMEOUT_S_MIN_CLARA))
        case "jobretrydelay" if text.isdecimal():
            entity["settings"] = {"jobRetryDelay": int(text)}
        case "priority" if text.lower() in PRIORITY_ORDER:
            entity["priority"] = text.lower()
        case "groupby" if tag := tag_of(text):
            entity["grouping"] = tag
        case "timeout" | "jobretrydelay" | "priority" | "groupby":
            return f"{value!r} cannot be read"
        case folded if folded.startswith(PIPELINE) and text and key[len(PIPELINE) :]:
            entity["pipelines"][key[len(PIPELINE) :]] = text
        case _:
            return "Clara's AE Title Job Processor has no such setting"
    return ""


# --- app.yaml


def _carry_yaml(table: Table, entity: dict[str, Any], converted: Converted) -> None:
    """Carry timeout, its group, and the processors."""
    _tell_foreign_processors(table.take("processors"), converted)
    timeout, group = table.take("timeout"), table.take("timeout-group")
    seconds = 0.0
    if timeout is not None:
        if str(timeout.value).isdecimal():
            seconds = float(timeout.value)
        else:
            converted.lost(timeout.path, f"{timeout.value!r} is no number of seconds")
    kind = str(group.value).casefold() if group else "association"
    entity["timeout_s"] = seconds
    if seconds and kind == "patient":
        entity["grouping"] = "0010,0020"
        return
    entity["grouping"] = "association"
    if group and kind not in ("association", "patient"):
        converted.lost(group.path, f"{group.value!r} is neither Association nor Patient")
    elif seconds:
        what = "several associations within the timeout made one job; here each makes its own"
        converted.note(group.path if group else table.path, what)


class _Workflows:
    """Which workflow and destination an AE Title has, in app.yaml."""

    def __init__(self, root: Table, converted: Converted, names: Mapping[str, str]) -> None:
        self._converted = converted
        carried = {one["name"] for one in converted.tree.get("destinations", ())}
        self._destinations = {theirs: name for theirs, name in names.items() if name in carried}
        self._tables = [(table, _workflow(table)) for table in root.take_tables("workflows")]

    def join(self, entity: dict[str, Any]) -> None:
        """Give an AE Title its pipelines and destinations."""
        for table, one in [*self._tables]:
            if one.get("of", "").strip() != str(entity["ae_title"]).strip():
                continue
            self._tables.remove((table, one))
            for path in table.left():
                self._converted.lost(path, "is no key of Clara's that is known here")
            if not one.get("id"):
                self._converted.lost(table.path, "it names no workflow, so there is no pipeline id")
                continue
            entity["pipelines"][one.get("name") or "workflow"] = one["id"]
            to = one.get("to", "")
            if name := self._destinations.get(to):
                entity["destinations"] = sorted({*entity.get("destinations", ()), name})
            elif to:
                self._converted.lost(f"{table.path}.destination-name", f"there is no {to!r}")

    def tell_the_rest(self) -> None:
        """Say which workflows belong to no AE Title."""
        for table, one in self._tables:
            self._converted.lost(table.path, f"there is no AE Title {one.get('of', '')!r}")


def _workflow(table: Table) -> dict[str, str]:
    keys = (("name", "name"), ("of", "clara-ae-title"), ("to", "destination-name"),
            ("to", "destination"), ("id", "workflow"))  # fmt: skip
    return {ours: str(value) for ours, value in _pairs(table, *keys).items()}
