"""`exports --outcomes`, a line for each instance and destination; `exports retry` of several."""

import sys
from collections.abc import Iterator, Mapping
from http import HTTPStatus

from adapter.client.api import Access, ApiError, call
from adapter.client.kinds import EXPORTS, OUTCOMES
from adapter.client.rows import Form, Row, print_json, printer, rows_of, told

FOR_ALL = (None, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
"""What is said to one request is said to the next one too; None: nobody answers."""


def list_outcomes(access: Access, filters: Mapping[str, str], form: Form) -> int:
    """Print the outcomes of the exports these filters let through; return the exit code."""
    return told(lambda: list(_outcomes(access, filters)), printer(OUTCOMES, form))


def _outcomes(access: Access, filters: Mapping[str, str]) -> Iterator[Row]:
    for row in rows_of(access, EXPORTS, filters):
        try:
            export = call(access, "GET", EXPORTS.path(row["id"]))
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            continue  # it was removed with its job, just now
        for outcome in export["outcomes"]:
            yield {
                "exportId": export["id"],
                "jobId": export["jobId"],
                "destination": export["destination"],
                "sopInstanceUid": outcome["sopInstanceUid"],
                "outcome": _word(outcome, export["state"]),
                **{key: outcome[key] for key in ("status", "attempts", "at")},
                **{key: outcome[key] for key in ("committed", "givenTo", "error")},
            }


def _word(outcome: Row, state: str) -> str:
    if outcome["delivered"]:
        return "delivered"
    if outcome["givenTo"]:
        return "passed-on"
    return "failed" if outcome["permanent"] or state == "Failed" else "waiting"


def retry_exports(access: Access, filters: Mapping[str, str], form: Form) -> int:
    """Have each of the exports these filters let through send again; return the exit code.

    A line says what became of each, as it comes.
    """
    answers: list[Row] = []

    def retry_each() -> None:
        for row in list(rows_of(access, EXPORTS, filters)):
            answers.append(_retried(access, row["id"]))
            if form == "table":
                _say(answers[-1])

    status = told(retry_each, lambda _: None)
    if form == "json":
        print_json(answers)
    elif not answers and not status:
        sys.stderr.write("there is no such export\n")
    return 1 if any("refused" in answer for answer in answers) else status


def _retried(access: Access, export_id: str) -> Row:
    """Return the export as it is then; or its id, and why it was refused."""
    try:
        row: Row = call(access, "POST", f"{EXPORTS.path(export_id)}/retry")
    except ApiError as error:
        if error.status in FOR_ALL:
            raise
        return {"id": export_id, "refused": str(error)}
    return row


def _say(answer: Row) -> None:
    out = sys.stderr if "refused" in answer else sys.stdout
    out.write(f"{answer['id']}: {answer.get('refused') or answer['state']}\n")
