"""The API server: kr8s has the credentials, TLS and HTTP, natively on Trio; lists and watches are
ours (kr8s begins a watch that is too old, 410, again from the same version, for ever).

Each purpose has a session of its own: kr8s closes a session whose credentials are not taken, also
for those who wait in it.
"""

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, cast

import httpx
import kr8s
import trio
import yaml
from kr8s.asyncio import Api

from adapter.domain.custom_resources import (
    GROUP,
    PLURALS,
    VERSION,
    KubernetesSettings,
    Listing,
    Resource,
    ResourceChange,
    ResourceStatus,
)
from adapter.domain.entity_rows import Kind
from adapter.errors import ClusterRefusalError, UnavailableError
from adapter.protocols.kubernetes.documents import (
    FORM_OF,
    change_of,
    finalizers_patch,
    page_of,
    resource_of,
    status_patch,
)

PAGE = 500
"""Resources asked for at once."""
WORDS_LENGTH_MAX = 500
NOT_FOUND = 404
MERGE_PATCH = {"content-type": "application/merge-patch+json"}
_FAILURES = (
    httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, kr8s.ServerError, kr8s.APITimeoutError,
    kr8s.ConnectionClosedError, yaml.YAMLError, OSError, ValueError, KeyError, TypeError,
)  # fmt: skip
"""What kr8s may raise; the last three for a kubeconfig, or an answer, that is none."""


class KubernetesResources:
    """Resources of one namespace (port `CustomResources`)."""

    def __init__(self, settings: KubernetesSettings) -> None:
        """Nothing is asked yet."""
        self._settings = settings
        self._apis: dict[str, Api] = {}

    async def list(self, kind: Kind) -> Listing:
        """See `CustomResources.list`."""
        resources: dict[str, Resource] = {}
        params: dict[str, str] = {"limit": str(PAGE)}
        while True:
            document = await self._asked(PLURALS[kind], "GET", PLURALS[kind], params=params)
            items, version, more = page_of(document)
            for item in items:
                resource = resource_of(kind, item)
                resources[resource.name] = resource
            if not more:
                return Listing(resources=resources, version=version)
            params["continue"] = more

    async def watch(self, kind: Kind, since: str, heard: Callable[[ResourceChange], None]) -> None:
        """See `CustomResources.watch`."""
        answer_s, watch_s = self._settings.answer_s, self._settings.watch_s
        plural = PLURALS[kind]
        params = {
            "watch": "true", "resourceVersion": since, "allowWatchBookmarks": "true",
            "timeoutSeconds": str(max(1, round(watch_s))),
        }  # fmt: skip
        try:
            with trio.fail_after(watch_s + 2 * answer_s):  # a server that is silent, or endless
                api = await self._api(plural)
                async with api.call_api(
                    "GET", version=f"{GROUP}/{VERSION}", namespace=self._settings.namespace,
                    url=plural, params=params, stream=True,
                    timeout=httpx.Timeout(answer_s, read=watch_s + answer_s),
                ) as response:  # fmt: skip
                    heard(ResourceChange())
                    lines = cast(AsyncGenerator[str, None], response.aiter_lines())
                    async with aclosing(lines):
                        async for line in lines:
                            heard(change_of(kind, line))
        except trio.TooSlowError as error:
            raise UnavailableError("the watch did not end in time") from error
        except _FAILURES as error:
            raise _translated(error, plural) from error

    async def put_status(self, resource: Resource, status: ResourceStatus) -> Resource:
        """See `CustomResources.put_status`."""
        return await self._patched(resource, "/status", status_patch(status))

    async def put_finalizers(self, resource: Resource, finalizers: tuple[str, ...]) -> Resource:
        """See `CustomResources.put_finalizers`."""
        return await self._patched(resource, "", finalizers_patch(resource, finalizers))

    def spelled(self, kind: Kind, problem: str) -> str:
        """See `CustomResources.spelled`."""
        return FORM_OF[kind].in_our_words(problem)

    async def _patched(self, resource: Resource, part: str, patch: bytes) -> Resource:
        url = f"{PLURALS[resource.kind]}/{resource.name}{part}"
        document = await self._asked("changes", "PATCH", url, content=patch, headers=MERGE_PATCH)
        return resource_of(resource.kind, document)

    async def _asked(self, purpose: str, method: str, url: str, **options: Any) -> Any:
        """Return the answer to a request."""
        answer_s = self._settings.answer_s
        try:
            with trio.fail_after(answer_s):
                api = await self._api(purpose)
                async with api.call_api(
                    method, version=f"{GROUP}/{VERSION}", namespace=self._settings.namespace,
                    url=url, **options,
                ) as response:  # fmt: skip
                    return response.json()
        except trio.TooSlowError as error:
            raise UnavailableError(f"no answer in {answer_s:g} s") from error
        except _FAILURES as error:
            raise _translated(error, url) from error

    async def _api(self, purpose: str) -> Api:
        """Return the session for a purpose; the credentials are read when it is made."""
        if purpose not in self._apis:
            # Not by `kr8s.asyncio.api`, which has one session for all who ask alike.
            api = Api(
                bypass_factory=True,
                kubeconfig=self._settings.kubeconfig or None,
                namespace=self._settings.namespace,
            )
            await api
            api.timeout = httpx.Timeout(self._settings.answer_s)
            self._apis[purpose] = api
        return self._apis[purpose]


def _translated(error: Exception, url: str) -> UnavailableError:
    """Return what a failure of kr8s means to us."""
    if isinstance(error, kr8s.ServerError) and error.response is not None:
        status = error.response.status_code
        words = f"{status} for {url}: {error}"
        if status == NOT_FOUND and "/" not in url:
            words += f" (is the CustomResourceDefinition {url}.{GROUP} there?)"
        return ClusterRefusalError(words[:WORDS_LENGTH_MAX], status)
    if isinstance(error, json.JSONDecodeError):
        return UnavailableError("what answers is no API server: it sends no JSON")
    words = f"{type(error).__name__}: {error}" if not isinstance(error, ValueError) else str(error)
    return UnavailableError(words[:WORDS_LENGTH_MAX])
