"""`health`: for service managers and container runtimes."""

from typing import Annotated

from cyclopts import Parameter

from adapter.commands.options import DEFAULT_URL, ConfigFile, Overrides, Url, fail, load

_EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - listened on, not asked


def health(
    *,
    live: Annotated[bool, Parameter(help="Only whether it is alive.", negative="")] = False,
    config: ConfigFile = None,
    overrides: Overrides = None,
    url: Url = DEFAULT_URL,
) -> int:
    """Ask an adapter whether it takes work: exit 0 if it does, 1 if not; -c says where it is."""
    from adapter.client.health import ask_health

    certificate = ""
    if config is not None or overrides:
        api = load(config, overrides).settings.api
        if not api.port:
            fail(["api.port = 0 is a port that only the adapter knows; say --url"])
        host = _EVERY_ADDRESS.get(api.host, api.host)
        certificate = api.tls.certificate
        scheme = "https" if certificate else "http"
        url = f"{scheme}://[{host}]:{api.port}" if ":" in host else f"{scheme}://{host}:{api.port}"
    return ask_health(url, "live" if live else "ready", certificate)
