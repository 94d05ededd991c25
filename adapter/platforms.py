"""Engines and services on other machines, made from the settings."""

from collections.abc import Sequence

from adapter.domain.custom_resources import ClusterEdges, KubernetesSettings, ResourceTrail
from adapter.domain.job_files import JobFiles
from adapter.domain.ports import PayloadStore, Platform
from adapter.domain.results_service import FetchedFiles, ResultsSettings, ServiceEdges
from adapter.domain.webhooks import Hook, HookEdges, Webhook
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


def make_custom_resources(
    settings: KubernetesSettings, trail: ResourceTrail
) -> ClusterEdges | None:
    """Return what reaches the API server of Kubernetes, if it is to be watched.

    Raises:
        ConfigurationError: Its library is not installed.
    """
    if not settings.watch_custom_resources:
        return None
    try:
        from adapter.protocols.kubernetes.resources import KubernetesResources
    except ImportError as error:
        what = f"needs an extra: pip install dicom-adapter[kubernetes] ({error})"
        raise ConfigurationError([f"kubernetes.watch_custom_resources: {what}"]) from error
    return ClusterEdges(KubernetesResources(settings), trail)


def make_hooks(webhooks: Sequence[Webhook]) -> HookEdges:
    """Return what reaches the webhooks that are configured.

    Raises:
        ConfigurationError: The file with a secret, or one for TLS, cannot be used.
    """
    if not webhooks:
        return {}
    from adapter.protocols.http_exchange import secret_reader
    from adapter.protocols.webhook import WebhookClient

    hooks = {}
    for index, hook in enumerate(webhooks):
        here = f"webhooks[{index}]"
        secret = secret_reader(f"{here}.secret_file", hook.secret_file)
        try:
            secret()
        except UnavailableError as error:
            raise ConfigurationError([str(error)]) from error
        encrypted = hook.url.startswith("https:")
        tls = destination_context(f"{here}.tls", hook.tls) if encrypted else None
        hooks[hook.name] = Hook(hook, WebhookClient(hook, secret, tls))
    return hooks


def make_results_service(settings: ResultsSettings, files: FetchedFiles) -> ServiceEdges | None:
    """Return the Results Service that is configured, with the folders for its files.

    Raises:
        ConfigurationError: The file with the API key, or one for TLS, cannot be used.
    """
    if not settings.service_url:
        return None
    from adapter.protocols.http_exchange import secret_reader
    from adapter.protocols.results.service import ResultsServiceClient, ServiceOptions

    api_key = (
        secret_reader("results.api_key_file", settings.api_key_file)
        if settings.api_key_file
        else lambda: settings.api_key
    )
    try:
        api_key()
    except UnavailableError as error:
        raise ConfigurationError([str(error)]) from error
    encrypted = any(url.startswith("https:") for url in (settings.service_url, settings.files_url))
    options = ServiceOptions(
        service_url=settings.service_url,
        files_url=settings.files_url,
        tls=destination_context("results.tls", settings.tls) if encrypted else None,
        api_key=api_key,
        connect_s=settings.connect_s,
        answer_s=settings.answer_s,
    )
    return ServiceEdges(ResultsServiceClient(options), files)
