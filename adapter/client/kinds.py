"""What a running adapter has rows of - jobs, exports, what it is configured with - and how people
see them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Rows of one route, and how people see them."""

    route: str
    columns: Mapping[str, str]
    """Of the table: heading to key."""
    parts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Lists in a single row, each a table of its own."""
    key: str = "id"
    """What a row is called."""
    paged: bool = True
    """Whether the route gives pages."""

    def path(self, row_id: str) -> str:
        """Return the route of one row."""
        return f"{self.route}/{quote(row_id, safe='')}"


JOBS = Kind(
    route="/api/jobs",
    columns={
        "id": "id", "state": "state", "pipeline": "pipeline", "AE Title": "aeTitle",
        "priority": "priority", "instances": "instances", "tries": "tryCount",
        "opened": "openedAt", "next try": "dueAt", "error": "error",
    },
    parts={"history": {"at": "at", "state": "state"}},
)  # fmt: skip
EXPORTS = Kind(
    route="/api/exports",
    columns={
        "id": "id", "state": "state", "destination": "destination", "job": "jobId",
        "priority": "priority", "instances": "instances", "sent": "sent", "failed": "failed",
        "tries": "tryCount", "opened": "openedAt", "next try": "dueAt", "error": "error",
    },
    parts={
        "outcomes": {
            "SOP Instance UID": "sopInstanceUid", "delivered": "delivered", "status": "status",
            "attempts": "attempts", "at": "at", "given to": "givenTo", "error": "error",
        },
        "transactions": {
            "Transaction UID": "uid", "instances": "instances", "asked": "requestedAt",
            "over": "over", "error": "error",
        },
    },
)  # fmt: skip
OUTCOMES = Kind(
    route=EXPORTS.route,
    columns={
        "export": "exportId", "job": "jobId", "destination": "destination",
        "SOP Instance UID": "sopInstanceUid", "outcome": "outcome", "status": "status",
        "attempts": "attempts", "at": "at", "given to": "givenTo", "error": "error",
    },
)  # fmt: skip
"""What became of one instance at one destination, taken from its export."""
TASKS = Kind(
    route="/api/tasks",
    columns={
        "id": "taskId", "state": "state", "agent": "agent", "job": "jobId",
        "destinations": "destinations", "files": "files", "retries": "retries",
        "opened": "openedAt", "next try": "dueAt", "error": "error",
    },
    key="taskId",
)  # fmt: skip
QUEUES = Kind(
    route="/api/destinations",
    columns={
        "name": "name", "type": "type", "state": "state", "waiting": "exports.Queued",
        "sending": "exports.Sending", "failed": "exports.Failed", "held since": "heldAt",
        "why": "why",
    },
    key="name",
)  # fmt: skip
"""Destinations, and what waits for them."""
STORAGE = Kind(
    route="/api/storage/items",
    columns={
        "what": "kind", "id": "id", "state": "state", "instances": "instances", "bytes": "bytes",
        "goes": "goes", "until": "until", "why": "why",
    },
    parts={},
)  # fmt: skip
ASSOCIATIONS = Kind(
    route="/api/associations",
    columns={
        "id": "id", "state": "state", "from": "callingAeTitle", "address": "peer",
        "to": "aeTitle", "instances": "instances", "data": "bytes", "rate": "bytesPerS",
        "age": "ageS", "times": "count", "why": "why.words",
    },
    parts={"presentationContexts": {
        "abstract syntax": "abstractSyntax", "transfer syntax": "transferSyntax",
    }},
)  # fmt: skip
GROUPS = Kind(
    route="/api/groups",
    columns={
        "id": "id", "AE Title": "aeTitle", "state": "state", "instances": "instances",
        "data": "bytes", "closes in": "leftS", "from": "associations", "why": "why",
    },
    parts={},
)  # fmt: skip

AE_TITLES = Kind(
    route="/api/config/claraaetitle",
    columns={
        "name": "name", "AE Title": "aeTitle", "state": "state", "origin": "origin",
        "group by": "processing.groupBy", "timeout (s)": "processing.timeoutS",
        "priority": "processing.priority", "pipelines": "processing.pipelines",
        "processor": "processing.processor", "problems": "problems",
    },
    parts={"processing": {
        "processor": "processor", "group by": "groupBy", "timeout (s)": "timeoutS",
        "priority": "priority", "pipelines": "pipelines",
    }},
    key="name",
    paged=False,
)  # fmt: skip
SOURCES = Kind(
    route="/api/config/sourceaetitle",
    columns={
        "name": "name", "AE Title": "aeTitle", "host": "host", "origin": "origin",
        "problems": "problems",
    },
    key="name",
    paged=False,
)  # fmt: skip
DESTINATIONS = Kind(
    route="/api/config/destinationaetitle",
    columns={
        "name": "name", "type": "type", "AE Title": "aeTitle", "host": "host", "port": "port",
        "state": "state", "origin": "origin", "problems": "problems",
    },
    key="name",
    paged=False,
)  # fmt: skip
KEYS = Kind(
    route="/api/keys",
    columns={
        "id": "id", "name": "name", "role": "role", "usable": "usable", "made": "madeAt",
        "by": "madeBy", "expires": "expiresAt", "revoked": "revokedAt",
    },
    parts={},
)  # fmt: skip
AUDIT = Kind(
    route="/api/audit",
    columns={
        "at": "at", "who": "who", "from": "address", "role": "role", "action": "action",
        "path": "path", "outcome": "outcome", "before": "before", "after": "after",
    },
    parts={},
)  # fmt: skip
