"""Destinations that are made over REST: what they say that those of the file do not."""

from typing import Annotated

from msgspec import Meta

from adapter.domain.entities import SECRET, Destination

Secret = Annotated[str, Meta(max_length=4096, extra_json_schema=SECRET)]


class MadeDestination(Destination, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One made over REST: whoever makes it has no files here, and says secrets themselves."""

    password: Secret = ""
    token: Secret = ""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r})"  # not what is secret
