// Jobs: all of them, or one with its whole story.

import { h, show } from "./dom.js";
import { bytes, clock, count, duration, exact, plural, short } from "./format.js";
import { Listing } from "./listing.js";
import { act, button, card, copyable, empty, facts, pill, setPill, Table } from "./ui.js";

export const JOB_TONES = { Completed: "good", Faulted: "bad", Cancelled: "warn", Queued: "", Starting: "live" };
const STATES = ["Queued", "Starting", "Completed", "Faulted", "Cancelled"];
export const ENDED = new Set(["Completed", "Faulted", "Cancelled"]);

export const toneOfJob = (state) => JOB_TONES[state] ?? "info";

/** A cell with the state as a pill. */
export const stateCell = (tone) => () => {
  const node = pill("");
  return { node, update: (row) => setPill(node, row.state, tone(row.state)) };
};

export const linkCell = (to, text) => (row) => ({ node: h("a", { href: to(row), class: "mono", title: text(row) }, short(text(row))) });

export class Jobs {
  constructor(context) {
    const [id] = context.path;
    this.inner = id ? new OneJob(context, id) : listOf(context);
    this.node = this.inner.node;
    if (id) this.title = "Job";
  }

  update(topics) {
    this.inner.update(topics);
  }

  leave() {
    this.inner.leave?.();
  }
}

function listOf(context) {
  const none = empty("No job here", "A job is a closed group for one pipeline. With another state or search there may be some.");
  const table = new Table({
    caption: "Jobs", none, keyOf: (row) => row.id,
    columns: [
      { title: "Job", head: true, cell: linkCell((row) => `#/jobs/${encodeURIComponent(row.id)}`, (row) => row.id) },
      { title: "State", cell: stateCell(toneOfJob) },
      { title: "AE Title", class: "mono", text: (row) => row.aeTitle },
      { title: "From", class: "mono", text: (row) => (row.callingAeTitles ?? []).join(", ") || "–" },
      { title: "Pipeline", text: (row) => row.pipeline },
      { title: "Instances", class: "num", text: (row) => count(row.instances) },
      { title: "Data", class: "num wide-only", text: (row) => bytes(row.payloadBytes) },
      { title: "Opened", class: "num", text: (row) => clock(row.openedAt) },
      { title: "Trouble", class: "text", text: (row) => row.error },
    ],
  });
  return new Listing({ ...context, section: "jobs", path: "/api/jobs", states: STATES, table,
    texts: (row) => [row.id, row.aeTitle, row.pipeline, row.pipelineId, row.groupId, row.error, ...(row.callingAeTitles ?? [])] });
}

class OneJob {
  constructor({ model, api }, id) {
    Object.assign(this, { model, api, id });
    this.node = h("div", { class: "detail" }, h("p", { class: "muted" }, "Looking it up…"));
  }

  update(topics) {
    const job = this.model.sections.jobs.get(this.id);
    const stamp = `${job?.changedAt} ${job?.state}`;
    const exports = topics.has("export");
    if (topics.has("hello") || stamp !== this.stamp || exports) {
      this.stamp = stamp;
      this.look();
    }
  }

  async look() {
    try {
      const job = await this.api.get(`/api/jobs/${this.api.part(this.id)}`);
      const exports = await this.exports(job);
      this.draw(job, exports);
    } catch (error) {
      if (!(error instanceof this.api.Problem)) throw error;
      this.node.replaceChildren(h("p", {}, h("a", { href: "#/jobs" }, "All jobs")), empty(error.status === 404 ? "There is no such job" : "It cannot be shown", error.status === 404 ? "It may have been reclaimed: a job goes when its results are delivered and its retention has passed." : error.message));
    }
  }

  async exports() {
    if (this.api.takes("/api/exports", "jobId")) {
      return this.api.get(`/api/exports${this.api.query({ jobId: this.id, limit: 100 })}`);
    }
    return this.model.rows("exports").filter((row) => row.job === this.id);
  }

  draw(job, exports) {
    const retry = button("Retry", `job ${job.id}`, () => this.order(job, "retry"), "primary");
    const cancel = button("Cancel", `job ${job.id}`, () => this.order(job, "cancel"), "danger");
    show(retry, job.state === "Faulted" || job.state === "Cancelled");
    show(cancel, !ENDED.has(job.state) || job.state === "Faulted");
    this.node.replaceChildren(
      h("p", {}, h("a", { href: "#/jobs" }, "All jobs")),
      h("div", { class: "card" },
        h("div", { class: "detail-head" }, h("p", { class: "mono id" }, job.id), pill(job.state, toneOfJob(job.state)), h("span", { class: "detail-acts" }, retry, cancel)),
        job.error && h("p", { class: "trouble" }, job.error),
        facts([
          ["AE Title", job.aeTitle], ["From", (job.callingAeTitles ?? []).join(", ")], ["Pipeline", `${job.pipeline} (${job.pipelineId})`],
          ["Priority", job.priority], ["Instances", `${count(job.instances)}, ${bytes(job.payloadBytes)}`], ["Results", job.collected ? plural(job.results, "instance") : "not collected yet"],
          ["Left out", job.skipped ? `${plural(job.skipped, "file")}: ${job.skippedFiles.join(", ")}` : ""],
          ["Tries of this step", job.tryCount || ""], ["Tried again at", job.dueAt && !ENDED.has(job.state) ? clock(job.dueAt) : ""],
          ["Studies", studiesOf(job)], ["Group", copyable(job.groupId)], ["Comes late to", job.supplements], ["Resubmitted", job.submissions > 1 ? plural(job.submissions - 1, "time") : ""],
        ])),
      card("Its story", {}, story(job)).node,
      card("Its exports", {}, exportsOf(exports)).node,
    );
  }

  order(job, verb) {
    const words = verb === "retry"
      ? { title: "Run this job again?", text: job.state === "Faulted" ? "It goes on at the step that failed, with all its tries." : "It begins with the first step.", yes: "Run it again" }
      : { title: "Cancel this job?", text: "It ends, and its pipeline is stopped. Its files are kept until retention has passed; it can be run again.", yes: "Cancel it", danger: true };
    return act({
      question: words,
      does: () => this.api.request("POST", `/api/jobs/${this.api.part(job.id)}/${verb}`, undefined, this.api.once()),
      done: (now) => (verb === "retry" ? `The job is ${now.state} again.` : "The job is cancelled."),
      failed: verb === "retry" ? "It does not run again" : "It was not cancelled",
    }).then(() => this.look());
  }
}

/** Links to what happened to its studies; the list of a job comes with the answer about it alone. */
function studiesOf({ studies = [] }) {
  return studies.length ? h("ul", { class: "plain" }, studies.map((uid) => h("li", {}, h("a", { href: `#/study/${encodeURIComponent(uid)}`, class: "mono id" }, uid)))) : "";
}

function story(job) {
  const steps = job.history?.length ? job.history : [{ state: "Queued", at: job.openedAt }];
  return h("ol", { class: "story" }, steps.map((step, index) => {
    const next = steps[index + 1];
    const took = next ? (Date.parse(next.at) - Date.parse(step.at)) / 1000 : null;
    return h("li", { class: `tone-${toneOfJob(step.state)}` }, h("time", { datetime: step.at }, exact(step.at)), h("strong", {}, step.state), h("span", { class: "muted" }, took === null ? "" : `for ${duration(took)}`));
  }));
}

function exportsOf(rows) {
  if (!rows.length) return empty("No export", "Exports open when the results are collected, one for each destination.");
  return h("ul", { class: "plain" }, rows.map((row) => h("li", { class: "line" },
    h("a", { href: `#/exports/${encodeURIComponent(row.id)}`, class: "mono", title: row.id }, row.destination),
    pill(row.state, row.state === "Completed" ? "good" : row.state === "Failed" ? "bad" : "live"),
    h("span", { class: "muted" }, `${count(row.sent ?? 0)} of ${plural(row.instances ?? 0, "instance")} delivered`),
    row.error && h("span", { class: "tone-bad" }, row.error))));
}
