"""`create`, `list`, `get`, `delete`: AE Titles, sources and destinations, typed as for Clara."""

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from adapter.commands.options import DEFAULT_ACCESS, Access, AsJson, fail, form

if TYPE_CHECKING:
    from adapter.client.kinds import Kind

create_app = App(name="create", help="Make an AE Title, a source or a destination.")

AETitle = Annotated[str, Parameter(name=["-a", "--ae-title"], help="AE Title.")]
Name = Annotated[str, Parameter(name=["-n", "--name"], help="What it is called.")]
Host = Annotated[str, Parameter(name=["-i", "--host-ip"], help="Name or address.")]
Wanted = Annotated[str, Parameter(help="What it is called; or by --name.")]
NAMES = Parameter(
    name=["-n", "--name", "-a", "--ae-title"],
    help="The same; a source is called as its AE Title if it was given no other name.",
)
Drain = Annotated[
    bool,
    Parameter(help="A destination also if exports wait: when they are sent.", negative=""),
]
Which = Annotated[
    Literal["aetitle", "aet", "src", "source", "dest", "destination"],
    Parameter(help="Of which kind."),
]
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
    return send_row(access, kind, ("POST", kind.route), form(json=as_json), document)


def list_entities(which: Which, /, *, json: AsJson = False, access: Access = DEFAULT_ACCESS) -> int:
    """List AE Titles, sources or destinations: `list dest`."""
    from adapter.client.rows import list_rows

    return list_rows(access, _kind(which), {}, form(json=json))


def get_entity(
    which: Which,
    wanted: Wanted = "",
    /,
    *,
    name: Annotated[str, NAMES] = "",
    json: AsJson = False,
    access: Access = DEFAULT_ACCESS,
) -> int:
    """Show one AE Title, source or destination: `get src CT1`."""
    from adapter.client.rows import show_row

    return show_row(access, _kind(which), _named(wanted or name), form(json=json))


def delete_entity(
    which: Which,
    wanted: Wanted = "",
    /,
    *,
    name: Annotated[str, NAMES] = "",
    drain: Drain = False,
    json: AsJson = False,
    access: Access = DEFAULT_ACCESS,
) -> int:
    """Remove an AE Title, a source or a destination: `delete dest pacs`."""
    from adapter.client.rows import send_row

    kind = _kind(which)
    path = kind.path(_named(wanted or name)) + ("?drain=true" if drain else "")
    return send_row(access, kind, ("DELETE", path), form(json=json))


def _named(name: str) -> str:
    if not name:
        fail(["say which one, by its name"])
    return name


def _kind(which: str) -> "Kind":
    from adapter.client.kinds import AE_TITLES, DESTINATIONS, SOURCES

    kinds = ((AETITLE, AE_TITLES), (SRC, SOURCES), (DEST, DESTINATIONS))
    return next(kind for words, kind in kinds if which in words)
