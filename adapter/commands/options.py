"""What several commands take, and how they refuse bad input: one line on stderr, exit 2."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

from cyclopts import Parameter

if TYPE_CHECKING:
    from adapter.client.rows import Form
    from adapter.configuration import Layered

BAD_INPUT = 2
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
ApiKey = Annotated[
    str,
    Parameter(
        name="--api-key",
        env_var="DICOM_ADAPTER_API_KEY",
        show_default=False,
        help="Who asks; better from the environment, where no other user sees it.",
    ),
]
DEFAULT_URL = "http://127.0.0.1:5000"


@Parameter(name="*")
@dataclass(frozen=True)
class Access:
    """A running adapter, and how to be let in."""

    url: Url = DEFAULT_URL
    api_key: ApiKey = field(default="", repr=False)


DEFAULT_ACCESS = Access()


def fail(lines: list[str]) -> NoReturn:
    """Say what is wrong with the input, a line each; exit."""
    for line in lines:
        print(line, file=sys.stderr)
    sys.exit(BAD_INPUT)


def form(*, json: bool, csv: bool = False) -> "Form":
    """Return how rows are wanted."""
    if json and csv:
        fail(["--json, --csv: one of them"])
    return "json" if json else "csv" if csv else "table"


def load(
    config: Path | None, overrides: list[str] | None, document: Mapping[str, Any] | None = None
) -> "Layered":
    """Return the effective settings; those of a document, if there is one, in place of the file.

    Raises:
        ConfigurationError: With every problem found.
    """
    from adapter import configuration

    if document is None:
        return configuration.load(config, os.environ, overrides or ())
    return configuration.load_document(document, config, os.environ, overrides or ())
