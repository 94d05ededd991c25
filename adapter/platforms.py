"""Engines that run on another machine, made from the settings."""

from adapter.domain.job_files import JobFiles
from adapter.domain.ports import PayloadStore, Platform
from adapter.errors import ConfigurationError, UnavailableError
from adapter.protocols.dimse.tls_contexts import destination_context
from adapter.settings import PlatformSettings


def make_http_platform(
    settings: PlatformSettings, files: JobFiles, payloads: PayloadStore
) -> Platform:
    """Return engine `http` (its library is loaded here: the others do without).

    Raises:
        ConfigurationError: The file with the API key, or one for TLS, cannot be used.
    """
    from adapter.protocols.platform.client import HttpOptions, PlatformClient, key_reader
    from adapter.protocols.platform.http import HttpPlatform

    http = settings.http
    encrypted = settings.endpoint.startswith("https:")
    api_key = key_reader(http.api_key, http.api_key_file)
    try:
        api_key()
    except UnavailableError as error:
        raise ConfigurationError([str(error)]) from error
    options = HttpOptions(
        endpoint=settings.endpoint,
        tls=destination_context("platform.http.tls", http.tls) if encrypted else None,
        api_key=api_key,
        connect_s=http.connect_s,
        answer_s=http.answer_s,
    )
    return HttpPlatform(
        PlatformClient(options),
        files,
        payloads.metadata,
        transfers=settings.parallel_uploads,
        poll_s=http.poll_s,
        max_concurrent=http.max_concurrent,
    )
