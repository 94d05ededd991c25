"""`create`, `list`, `get`, `delete`: AE Titles, sources and destinations, typed as for Clara."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from adapter.commands.options import DEFAULT_ACCESS, Access, AsJson, fail

if TYPE_CHECKING:
    from adapter.client.rows import Form, Kind

create_app = App(name="create", help="Make an AE Title, a source or a destination.")
list_app = App(name="list", help="List AE Titles, sources or destinations.")
get_app = App(name="get", help="Show one AE Title, source or destination.")
delete_app = App(name="delete", help="Remove an AE Title, a source or a destination.")
ENTITY_APPS = (create_app, list_app, get_app, delete_app)

AETitle = Annotated[str, Parameter(name=["-a", "--ae-title"], help="AE Title.")]
Name = Annotated[str, Parameter(name=["-n", "--name"], help="What it is called.")]
Host = Annotated[str, Parameter(name=["-i", "--host-ip"], help="Name or address.")]
Wanted = Annotated[str | None, Parameter(help="What it is called; or by --name.")]
AETITLE, SRC, DEST = ["aetitle", "aet"], ["src", "source"], ["dest", "destination"]


@create_app.command(name=AETITLE)
def create_aetitle(
    *settings: Annotated[
        str, Parameter(help="pipeline-NAME=ID, timeout=30, ...; of its processor.")
    ],
    ae_title: AETitle,
    name: Name = "",
    json: AsJson = False,
    access: Access = DEFAULT_ACCESS,
) -> int:
    """Make an AE Title: `create aetitle -a COVIDAET pipeline-covid=ID timeout=30`."""
    document: dict[str, object] = {"aeTitle": ae_title, "processorSettings": _pairs(settings)}
    if name:
        document["name"] = name
    return _create("aetitle", document, access, as_json=json)


@create_app.command(name=SRC)
def create_src(
    *,
    ae_title: AETitle,
    host: Host,
    name: Name = "",
    json: AsJson = False,
    access: Access = DEFAULT_ACCESS,
) -> int:
    """Make a source, which may send from then on."""
    document: dict[str, object] = {"aeTitle": ae_title, "hostIp": host}
    if name:
        document["name"] = name
    return _create("src", document, access, as_json=json)


@create_app.command(name=DEST)
def create_dest(
    *,
    name: Name,
    ae_title: AETitle,
    host: Host,
    port: Annotated[int, Parameter(name=["-p", "--port"], help="Where it listens.")],
    json: AsJson = False,
    access: Access = DEFAULT_ACCESS,
) -> int:
    """Make a destination, which results can be sent to from then on."""
    document = {"name": name, "aeTitle": ae_title, "hostIp": host, "port": port}
    return _create("dest", document, access, as_json=json)


def _pairs(settings: tuple[str, ...]) -> dict[str, str]:
    wrong = [text for text in settings if not text.partition("=")[0] or "=" not in text]
    if wrong:
        fail([f"{text!r} is not of the form KEY=VALUE" for text in wrong])
    pairs = [text.partition("=") for text in settings]
    keys = [key for key, _, _ in pairs]
    if twice := sorted({key for key in keys if keys.count(key) > 1}):
        fail([f"{key!r} is given twice" for key in twice])
    return {key: value for key, _, value in pairs}


def _create(which: str, document: object, access: Access, *, as_json: bool) -> int:
    from adapter.client.rows import send_row

    kind = _kind(which)
    return send_row(access, kind, ("POST", kind.route), _form(as_json=as_json), document)


@list_app.command(name=AETITLE)
def list_aetitle(*, json: AsJson = False, access: Access = DEFAULT_ACCESS) -> int:
    """List the AE Titles that take instances."""
    return _list("aetitle", access, as_json=json)


@list_app.command(name=SRC)
def list_src(*, json: AsJson = False, access: Access = DEFAULT_ACCESS) -> int:
    """List who may send."""
    return _list("src", access, as_json=json)


@list_app.command(name=DEST)
def list_dest(*, json: AsJson = False, access: Access = DEFAULT_ACCESS) -> int:
    """List where results go."""
    return _list("dest", access, as_json=json)


def _list(which: str, access: Access, *, as_json: bool) -> int:
    from adapter.client.rows import list_rows

    return list_rows(access, _kind(which), {}, _form(as_json=as_json))


@get_app.command(name=AETITLE)
def get_aetitle(
    wanted: Wanted = None, /, *, name: Name = "", json: AsJson = False,
    access: Access = DEFAULT_ACCESS,
) -> int:  # fmt: skip
    """Show one AE Title."""
    return _get("aetitle", wanted or name, access, as_json=json)


@get_app.command(name=SRC)
def get_src(
    wanted: Wanted = None, /, *, name: Name = "", ae_title: AETitle = "", json: AsJson = False,
    access: Access = DEFAULT_ACCESS,
) -> int:  # fmt: skip
    """Show one source; it is called as its AE Title if it was given no other name."""
    return _get("src", wanted or name or ae_title, access, as_json=json)


@get_app.command(name=DEST)
def get_dest(
    wanted: Wanted = None, /, *, name: Name = "", json: AsJson = False,
    access: Access = DEFAULT_ACCESS,
) -> int:  # fmt: skip
    """Show one destination."""
    return _get("dest", wanted or name, access, as_json=json)


def _get(which: str, name: str, access: Access, *, as_json: bool) -> int:
    from adapter.client.rows import show_row

    return show_row(access, _kind(which), _named(name), _form(as_json=as_json))


@delete_app.command(name=AETITLE)
def delete_aetitle(
    wanted: Wanted = None, /, *, name: Name = "", json: AsJson = False,
    access: Access = DEFAULT_ACCESS,
) -> int:  # fmt: skip
    """Remove an AE Title: it is gone when its groups have become jobs."""
    return _delete("aetitle", wanted or name, access, as_json=json)


@delete_app.command(name=SRC)
def delete_src(
    wanted: Wanted = None, /, *, name: Name = "", ae_title: AETitle = "", json: AsJson = False,
    access: Access = DEFAULT_ACCESS,
) -> int:  # fmt: skip
    """Remove a source; it is called as its AE Title if it was given no other name."""
    return _delete("src", wanted or name or ae_title, access, as_json=json)


@delete_app.command(name=DEST)
def delete_dest(
    wanted: Wanted = None, /, *, name: Name = "",
    drain: Annotated[bool, Parameter(help="Also if exports wait: when they are sent.",
                                     negative="")] = False,
    json: AsJson = False, access: Access = DEFAULT_ACCESS,
) -> int:  # fmt: skip
    """Remove a destination that nothing names."""
    query = "?drain=true" if drain else ""
    return _delete("dest", wanted or name, access, as_json=json, query=query)


def _delete(which: str, name: str, access: Access, *, as_json: bool, query: str = "") -> int:
    from adapter.client.rows import send_row

    kind = _kind(which)
    path = kind.path(_named(name)) + query
    return send_row(access, kind, ("DELETE", path), _form(as_json=as_json))


def _named(name: str) -> str:
    if not name:
        fail(["say which one, by its name"])
    return name


def _kind(which: str) -> "Kind":
    from adapter.client.rows import AE_TITLES, DESTINATIONS, SOURCES

    return {"aetitle": AE_TITLES, "src": SOURCES, "dest": DESTINATIONS}[which]


def _form(*, as_json: bool) -> "Form":
    return "json" if as_json else "table"
