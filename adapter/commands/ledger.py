"""`jobs`, `exports`, `tasks`: the ledger of a running adapter, and orders about its rows."""

from typing import Annotated

from cyclopts import App, Parameter

from adapter.commands.options import DEFAULT_ACCESS, Access, AsCsv, AsJson, fail, form

jobs_app = App(name="jobs", help="List jobs; show, retry, cancel, hold or release one.")
exports_app = App(
    name="exports", help="List exports and what became of each instance; show or retry them."
)
tasks_app = App(name="tasks", help="List registered results; show or retry a task.")

ToDestination = Annotated[str, Parameter(help="Only those to this one.")]
OfJob = Annotated[str, Parameter(help="Only those of this one, by its id.")]


@jobs_app.default
def jobs(
    *,
    state: Annotated[str, Parameter(help="Only these, such as Faulted.")] = "",
    json: AsJson = False,
    csv: AsCsv = False,
    access: Access = DEFAULT_ACCESS,
) -> int:
    """List the jobs, oldest first."""
    from adapter.client.kinds import JOBS
    from adapter.client.rows import list_rows

    return list_rows(access, JOBS, {"state": state}, form(json=json, csv=csv))


@jobs_app.command(name="show")
def show_job(job_id: str, /, *, json: AsJson = False, access: Access = DEFAULT_ACCESS) -> int:
    """Show one job with its latest states."""
    from adapter.client.kinds import JOBS
    from adapter.client.rows import show_row

    return show_row(access, JOBS, job_id, form(json=json))


@jobs_app.command(name="retry")
def retry_job(job_id: str, /, *, json: AsJson = False, access: Access = DEFAULT_ACCESS) -> int:
    """Resubmit a job that is Faulted or Cancelled."""
    from adapter.client.kinds import JOBS
    from adapter.client.rows import order_row

    return order_row(access, JOBS, (job_id, "retry"), form(json=json))


@jobs_app.command(name="cancel")
def cancel_job(job_id: str, /, *, json: AsJson = False, access: Access = DEFAULT_ACCESS) -> int:
    """End a job that has not ended; its files are kept."""
    from adapter.client.kinds import JOBS
    from adapter.client.rows import order_row

    return order_row(access, JOBS, (job_id, "cancel"), form(json=json))


@jobs_app.command(name="hold")
def hold_job(job_id: str, /, *, json: AsJson = False, access: Access = DEFAULT_ACCESS) -> int:
    """Keep the files of a job, whatever retention says."""
    from adapter.client.kinds import JOBS
    from adapter.client.rows import order_row

    return order_row(access, JOBS, (job_id, "hold"), form(json=json))


@jobs_app.command(name="release")
def release_job(job_id: str, /, *, json: AsJson = False, access: Access = DEFAULT_ACCESS) -> int:
    """Let retention decide about the files of a job again."""
    from adapter.client.kinds import JOBS
    from adapter.client.rows import order_row

    return order_row(access, JOBS, (job_id, "release"), form(json=json))


@exports_app.default
def exports(
    *,
    state: Annotated[str, Parameter(help="Only these, such as Failed.")] = "",
    destination: ToDestination = "",
    job: OfJob = "",
    outcomes: Annotated[
        bool, Parameter(help="A line for each instance and destination.", negative="")
    ] = False,
    json: AsJson = False,
    csv: AsCsv = False,
    access: Access = DEFAULT_ACCESS,
) -> int:
    """List the exports, or what became of each of their instances; oldest first."""
    filters = {"state": state, "destination": destination, "jobId": job}
    if outcomes:
        from adapter.client.outcomes import list_outcomes

        return list_outcomes(access, filters, form(json=json, csv=csv))
    from adapter.client.kinds import EXPORTS
    from adapter.client.rows import list_rows

    return list_rows(access, EXPORTS, filters, form(json=json, csv=csv))


@exports_app.command(name="show")
def show_export(export_id: str, /, *, json: AsJson = False, access: Access = DEFAULT_ACCESS) -> int:
    """Show one export with the outcome of every instance."""
    from adapter.client.kinds import EXPORTS
    from adapter.client.rows import show_row

    return show_row(access, EXPORTS, export_id, form(json=json))


@exports_app.command(name="retry")
def retry_export(
    export_id: str = "",
    /,
    *,
    state: Annotated[str, Parameter(help="All of these instead of one, such as Failed.")] = "",
    destination: ToDestination = "",
    job: OfJob = "",
    instance: Annotated[
        list[str] | None,
        Parameter(help="SOP Instance UID: only this one; repeatable.", negative=""),
    ] = None,
    json: AsJson = False,
    access: Access = DEFAULT_ACCESS,
) -> int:
    """Send again what an export that is Failed, or several, could not deliver.

    With --state a line for each; exit 1 if one was refused.
    """
    if bool(export_id) == bool(state):
        fail(["EXPORT_ID, --state: one of them"])
    if state:
        if instance:
            fail(["--instance is for one export: say which, by its id"])
        from adapter.client.outcomes import retry_exports

        filters = {"state": state, "destination": destination, "jobId": job}
        return retry_exports(access, filters, form(json=json))
    if destination or job:
        fail(["--destination, --job are for several exports, with --state"])
    from adapter.client.kinds import EXPORTS
    from adapter.client.rows import order_row

    wanted = {"sopInstanceUids": instance} if instance else None
    return order_row(access, EXPORTS, (export_id, "retry"), form(json=json), wanted)


@tasks_app.default
def tasks(
    *,
    state: Annotated[str, Parameter(help="Only these, such as Pending.")] = "",
    json: AsJson = False,
    csv: AsCsv = False,
    access: Access = DEFAULT_ACCESS,
) -> int:
    """List the tasks, results that were registered for an agent, oldest first."""
    from adapter.client.kinds import TASKS
    from adapter.client.rows import list_rows

    return list_rows(access, TASKS, {"state": state}, form(json=json, csv=csv))


@tasks_app.command(name="show")
def show_task(task_id: str, /, *, json: AsJson = False, access: Access = DEFAULT_ACCESS) -> int:
    """Show one task with its files."""
    from adapter.client.kinds import TASKS
    from adapter.client.rows import show_row

    return show_row(access, TASKS, task_id, form(json=json))


@tasks_app.command(name="retry")
def retry_task(task_id: str, /, *, json: AsJson = False, access: Access = DEFAULT_ACCESS) -> int:
    """Have a task that is Failed done again."""
    from adapter.client.kinds import TASKS
    from adapter.client.rows import order_row

    return order_row(access, TASKS, (task_id, "retry"), form(json=json))
