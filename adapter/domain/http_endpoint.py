"""Engine `http` in the configuration: where the platform is, and how it is spoken to."""

import re
from collections.abc import Iterator
from typing import Annotated
from urllib.parse import urlsplit

from msgspec import Meta, Struct, field

from adapter.domain.entities import SECRET, DestinationTls, FilePath

Seconds = Annotated[float, Meta(gt=0, le=3600)]
_ENDPOINT = re.compile(r"https?://[^@?#\s\\]+", re.ASCII)


class HttpSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`platform.http`."""

    api_key: Annotated[
        str, Meta(max_length=4096, pattern=r"^[!-~]*$(?!\n)", extra_json_schema=SECRET)
    ] = ""
    api_key_file: FilePath = ""
    tls: DestinationTls = field(default_factory=DestinationTls)
    connect_s: Seconds = 10.0
    answer_s: Seconds = 60.0
    poll_s: Seconds = 2.0
    max_concurrent: Annotated[int, Meta(ge=1, le=1000)] = 16


def is_endpoint(text: str) -> bool:
    """Return whether text is an address of HTTP without user, query and fragment."""
    try:
        url = urlsplit(text)
        return bool(_ENDPOINT.fullmatch(text)) and bool(url.hostname) and url.port != 0
    except ValueError:
        return False


def endpoint_problems(endpoint: str, http: HttpSettings) -> Iterator[str]:
    """Yield what is wrong with `platform.endpoint` and `platform.http`."""
    if not is_endpoint(endpoint):
        yield (
            f'platform.endpoint = {endpoint!r}: engine "http" needs an address such as '
            "https://platform.example.org/api, without user, query and fragment"
        )
    if http.api_key and http.api_key_file:
        yield "platform.http.api_key_file: there is platform.http.api_key as well"
    if http.tls.key and not http.tls.certificate:
        yield "platform.http.tls.key: a key needs its certificate"
