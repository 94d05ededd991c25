"""The command `dicom-adapter`: thin; every import that takes time is inside its command."""

import os
import sys
from typing import Annotated, NoReturn

from cyclopts import App, CycloptsError, Parameter

from adapter import __version__
from adapter.commands.audit import audit_app
from adapter.commands.configuration import config_app
from adapter.commands.dicom import echo, send
from adapter.commands.entities import create_app, delete_entity, get_entity, list_entities
from adapter.commands.keys import keys_app
from adapter.commands.ledger import exports_app, jobs_app, tasks_app
from adapter.commands.options import (
    ConfigFile,
    Overrides,
    fail,
    load,
)
from adapter.commands.service import health
from adapter.commands.state import associations_app, destinations_app, groups_app, status, watch
from adapter.commands.storage import storage
from adapter.errors import ConfigurationError

app = App(
    name="dicom-adapter",
    help="Receives DICOM, groups it into jobs for AI pipelines, and sends the results back.",
    version=__version__,
)
for command in (
    config_app,
    create_app,
    jobs_app,
    exports_app,
    tasks_app,
    associations_app,
    groups_app,
    destinations_app,
    keys_app,
    status,
    watch,
    health,
    audit_app,
    echo,
    send,
    storage,
):
    app.command(command)
app.command(list_entities, name="list")
app.command(get_entity, name="get")
app.command(delete_entity, name="delete")

app.register_install_completion_command(help="Install completion for this shell: bash, zsh, fish.")

INTERRUPTED = 130  # by Ctrl+C, as shells have it


def main() -> NoReturn:
    """Run the command line; exits."""
    try:
        result = app(exit_on_error=False, print_error=False)
        sys.stdout.flush()
    except BrokenPipeError:  # `dicom-adapter ... | head`: whoever read has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except CycloptsError as error:
        fail([" ".join(str(error).split())])
    except ConfigurationError as error:
        fail(error.problems)
    sys.exit(result if isinstance(result, int) else 0)


@app.command
def serve(config: ConfigFile = None, overrides: Overrides = None) -> int:
    """Run in the foreground until SIGTERM or Ctrl+C."""
    load(config, overrides)  # before anything that takes time is imported
    from adapter.configuration_edge import Follow
    from adapter.main import serve as run

    return run(Follow(config, lambda document: load(config, overrides, document)))


@app.command
def demo(
    *,
    serve: Annotated[bool, Parameter(help="Stay up afterwards.", negative="")] = False,
    port_base: Annotated[int, Parameter(help="First of three ports; 0: free ones.")] = 0,
) -> int:
    """Show the whole job on real DICOM files, and verify every step of it."""
    from adapter.demo.run import run_demo

    return run_demo(stay=serve, port_base=port_base)
