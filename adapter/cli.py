"""The command `dicom-adapter`: thin; every import that takes time is inside its command."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

from cyclopts import App, Parameter, validators

from adapter import __version__
from adapter.errors import ConfigurationError

if TYPE_CHECKING:
    from adapter.client.rows import Form
    from adapter.configuration import Layered
    from adapter.domain.entities import Destination
    from adapter.settings import Settings

app = App(
    name="dicom-adapter",
    help="Receives DICOM, groups it into jobs for AI pipelines, and sends the results back.",
    version=__version__,
)
config_app = App(name="config", help="Check and show the configuration.")
app.command(config_app)
jobs_app = App(name="jobs", help="List jobs of a running adapter; show, retry or cancel one.")
app.command(jobs_app)
exports_app = App(name="exports", help="List exports of a running adapter; show or retry one.")
app.command(exports_app)

BAD_INPUT = 2
INTERRUPTED = 130  # by Ctrl+C, as shells have it
ConfigFile = Annotated[
    Path | None, Parameter(name=["-c", "--config"], help="TOML, YAML or JSON file.")
]
Overrides = Annotated[
    list[str] | None,
    Parameter(name="--set", negative="", help="KEY=VALUE, such as dicom.scp.port=104; repeatable."),
]
AsJson = Annotated[bool, Parameter(name="--json", help="One JSON document.", negative="")]
AsCsv = Annotated[bool, Parameter(name="--csv", help="For spreadsheets.", negative="")]
Url = Annotated[str, Parameter(name="--url", help="Address of a running adapter.")]
DEFAULT_URL = "http://127.0.0.1:5000"


def main() -> NoReturn:
    """Run the command line; exits."""
    try:
        result = app()
        sys.stdout.flush()
    except BrokenPipeError:  # `dicom-adapter ... | head`: whoever read has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except ConfigurationError as error:
        _fail(error.problems)
    sys.exit(result if isinstance(result, int) else 0)


def _fail(lines: list[str]) -> NoReturn:
    for line in lines:
        print(line, file=sys.stderr)
    sys.exit(BAD_INPUT)


def _load(config: Path | None, overrides: list[str] | None) -> "Layered":
    from adapter.configuration import load

    return load(config, os.environ, overrides or ())


@app.command
def serve(config: ConfigFile = None, overrides: Overrides = None) -> int:
    """Run in the foreground until SIGTERM or Ctrl+C."""
    layered = _load(config, overrides)
    from adapter.main import serve as run

    return run(layered.settings)


@app.command
def demo(
    *,
    serve: Annotated[bool, Parameter(help="Stay up afterwards.", negative="")] = False,
    port_base: Annotated[int, Parameter(help="First of three ports; 0: free ones.")] = 0,
) -> int:
    """Show the whole job on real DICOM files, and verify every step of it."""
    from adapter.demo.run import run_demo

    return run_demo(stay=serve, port_base=port_base)


@app.command
def watch(
    *,
    topics: Annotated[str, Parameter(help="Comma-separated, such as job,export.")] = "",
    since: Annotated[int | None, Parameter(help="Begin behind this sequence number.")] = None,
    json: Annotated[bool, Parameter(help="One JSON event a line.", negative="")] = False,
    url: Url = DEFAULT_URL,
) -> int:
    """Tail the live events of a running adapter."""
    from adapter.client.watch import watch_events

    return watch_events(url, topics, since, as_json=json)


@app.command
def echo(
    destination: str,
    /,
    *,
    json: AsJson = False,
    config: ConfigFile = None,
    overrides: Overrides = None,
) -> int:
    """Verify a destination by C-ECHO: its NAME in the configuration, or AET@HOST:PORT.

    Says how long connection, association and answer took; or what was refused, and what to check.
    """
    from adapter.client.dicom import echo as run

    return run(*_destination(destination, config, overrides), as_json=json)


@app.command
def send(
    destination: str,
    /,
    *paths: Path,
    associations: Annotated[
        int, Parameter(help="At once.", validator=validators.Number(gte=1, lte=100))
    ] = 1,
    verbose: Annotated[
        bool, Parameter(name=["-v", "--verbose"], help="Every file.", negative="")
    ] = False,
    json: AsJson = False,
    config: ConfigFile = None,
    overrides: Overrides = None,
) -> int:
    """Send files and folders by C-STORE to NAME or AET@HOST:PORT; exit 1 if any failed.

    What lies in a folder and is no DICOM instance is skipped. After a lost association the rest,
    and what had no answer yet, is sent on a new one.
    """
    if not paths:
        _fail(["send: name at least one file or folder"])
    target, settings = _destination(destination, config, overrides)
    from adapter.client.send import Output
    from adapter.client.send import send as run

    output = Output.JSON if json else Output.EVERY_FILE if verbose else Output.FAILURES
    return run(target, settings, list(paths), associations=associations, output=output)


def _destination(
    text: str, config: Path | None, overrides: list[str] | None
) -> "tuple[Destination, Settings]":
    from adapter.client.dicom import UnknownDestinationError, parse_destination

    settings = _load(config, overrides).settings
    try:
        return parse_destination(text, settings), settings
    except UnknownDestinationError as error:
        _fail([str(error)])


@jobs_app.default
def jobs(
    *,
    state: Annotated[str, Parameter(help="Only these, such as Faulted.")] = "",
    json: AsJson = False,
    csv: AsCsv = False,
    url: Url = DEFAULT_URL,
) -> int:
    """List the jobs, oldest first."""
    from adapter.client.rows import JOBS, list_rows

    return list_rows(url, JOBS, {"state": state}, _form(json=json, csv=csv))


@jobs_app.command(name="show")
def show_job(job_id: str, /, *, json: AsJson = False, url: Url = DEFAULT_URL) -> int:
    """Show one job with its latest states."""
    from adapter.client.rows import JOBS, show_row

    return show_row(url, JOBS, job_id, _form(json=json))


@jobs_app.command(name="retry")
def retry_job(job_id: str, /, *, json: AsJson = False, url: Url = DEFAULT_URL) -> int:
    """Resubmit a job that is Faulted or Cancelled."""
    from adapter.client.rows import JOBS, order_row

    return order_row(url, JOBS, job_id, "retry", _form(json=json))


@jobs_app.command(name="cancel")
def cancel_job(job_id: str, /, *, json: AsJson = False, url: Url = DEFAULT_URL) -> int:
    """End a job that has not ended; its files are kept."""
    from adapter.client.rows import JOBS, order_row

    return order_row(url, JOBS, job_id, "cancel", _form(json=json))


@exports_app.default
def exports(
    *,
    state: Annotated[str, Parameter(help="Only these, such as Failed.")] = "",
    destination: Annotated[str, Parameter(help="Only those to this one.")] = "",
    json: AsJson = False,
    csv: AsCsv = False,
    url: Url = DEFAULT_URL,
) -> int:
    """List the exports, oldest first."""
    from adapter.client.rows import EXPORTS, list_rows

    filters = {"state": state, "destination": destination}
    return list_rows(url, EXPORTS, filters, _form(json=json, csv=csv))


@exports_app.command(name="show")
def show_export(export_id: str, /, *, json: AsJson = False, url: Url = DEFAULT_URL) -> int:
    """Show one export with the outcome of every instance."""
    from adapter.client.rows import EXPORTS, show_row

    return show_row(url, EXPORTS, export_id, _form(json=json))


@exports_app.command(name="retry")
def retry_export(export_id: str, /, *, json: AsJson = False, url: Url = DEFAULT_URL) -> int:
    """Send again what an export that is Failed could not deliver."""
    from adapter.client.rows import EXPORTS, order_row

    return order_row(url, EXPORTS, export_id, "retry", _form(json=json))


def _form(*, json: bool, csv: bool = False) -> "Form":
    if json and csv:
        _fail(["--json, --csv: one of them"])
    return "json" if json else "csv" if csv else "table"


@config_app.command
def check(config: Path, /, *, overrides: Overrides = None) -> int:
    """Validate a configuration file; exit 2 and say what is wrong if it is."""
    layered = _load(config, overrides)
    from adapter.composition import tls_contexts, warnings

    tls_contexts(layered.settings)
    for line in warnings(layered.settings):
        print(f"warning: {line}", file=sys.stderr)
    count = len(layered.settings.application_entities)
    print(f"{config}: valid; {count} AE Title{'s' * (count != 1)}")
    return 0


@config_app.command
def show(
    config: Annotated[Path | None, Parameter(help="Configuration file.")] = None,
    /,
    *,
    origin: Annotated[
        bool, Parameter(help="Say where each value comes from.", negative="")
    ] = False,
    overrides: Overrides = None,
) -> int:
    """Show the effective values."""
    from adapter.configuration import effective_values

    for path, value, where in effective_values(_load(config, overrides)):
        print(f"{path} = {value}" + (f"    # {where}" if origin else ""))
    return 0


@config_app.command
def passcode() -> int:
    """Ask for a passcode and print the line that dicom.scp.user_identity.users keeps of it."""
    import getpass
    import secrets

    from adapter.domain.identity import SALT_BYTES, hash_passcode

    text = getpass.getpass("Passcode: ") if sys.stdin.isatty() else sys.stdin.readline()
    print(hash_passcode(text.rstrip("\n").encode(), secrets.token_bytes(SALT_BYTES)))
    return 0


@config_app.command
def schema() -> int:
    """Print the JSON Schema of the configuration file."""
    import json as json_module

    from adapter.configuration import json_schema

    print(json_module.dumps(json_schema(), indent=2))
    return 0
