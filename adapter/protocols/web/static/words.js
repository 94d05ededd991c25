// Events in words, and how much they matter.

import { bytes, count, plural, short } from "./format.js";

const WORDS = {
  "association.requested": (e, d) => `${e.aeTitle}: association requested${d.callingAeTitle ? ` by ${d.callingAeTitle}` : ""}${d.peer ? ` from ${d.peer}` : ""}`,
  "association.accepted": (e) => `${e.aeTitle}: association opened`,
  "association.rejected": (e, d) => `Rejected${d.callingAeTitle ? ` ${d.callingAeTitle}` : ""}: ${d.why}`,
  "association.released": (e, d) => `${e.aeTitle}: association released after ${plural(d.instances ?? 0, "instance")}, ${bytes(d.bytes ?? 0)}`,
  "association.aborted": (e, d) => `${e.aeTitle}: association aborted${d.why ? `: ${d.why}` : ""}`,
  "group.opened": (e) => `${e.aeTitle}: group opened`,
  "group.held": (e, d) => `${e.aeTitle}: group held${d.why ? `: ${d.why}` : ""}`,
  "group.extended": (e) => `${e.aeTitle}: group extended`,
  "group.dropped": (e, d) => `${e.aeTitle}: ${plural(d.instances, "instance")} dropped after an abort`,
  "group.closed": (e, d) => `${e.aeTitle}: group closed with ${plural(d.instances ?? 0, "instance")}`,
  "job.opened": (e, d) => `Job for ${d.pipeline} opened`,
  "job.state": (e, d) => `Job: ${d.state}`,
  "job.faulted": (e, d) => `Job for ${d.pipeline} faulted: ${d.error}`,
  "job.cancelled": (e, d) => `Job for ${d.pipeline} cancelled`,
  "job.completed": (e, d) => `Job for ${d.pipeline} completed`,
  "job.collected": (e, d) => `Results collected: ${plural(d.results ?? 0, "instance")}`,
  "task.state": (e, d) => `Task ${short(d.task)}: ${d.state}`,
  "task.failed": (e, d) => `Task ${short(d.task)} failed: ${d.error}`,
  "task.registered": (e, d) => `Task ${short(d.task)} registered for ${d.agent}`,
  "export.opened": (e, d) => `Export of ${plural(d.instances ?? 0, "instance")} to ${e.destination} opened`,
  "export.state": (e, d) => `Export to ${e.destination}: ${d.state}${d.error ? `: ${d.error}` : ""}`,
  "export.sent": (e, d) => `${e.destination} answered: ${plural(d.delivered ?? 0, "instance")} delivered${d.failed ? `, ${count(d.failed)} not` : ""}`,
  "export.failed": (e, d) => `Export to ${e.destination} failed: ${d.error}`,
  "export.given": (e, d) => `Export to ${e.destination} given to ${d.givenTo}`,
  "export.completed": (e, d) => `Export to ${e.destination} complete: ${plural(d.sent ?? 0, "instance")} delivered`,
  "commitment.requested": (e, d) => `Storage commitment requested for ${plural(d.instances ?? 0, "instance")}`,
  "commitment.refused": (e, d) => `Storage commitment refused: ${d.error}`,
  "commitment.expired": () => "Storage commitment: no report came in time",
  "commitment.reported": (e, d) => `Storage commitment reported for ${plural(d.instances ?? 0, "instance")}`,
  "destination.up": (e) => `${e.destination} is up`,
  "destination.down": (e, d) => `${e.destination} is down: ${d.why}`,
  "destination.tried": (e, d) => `${e.destination} is still down${d.tries ? ` after ${count(d.tries)} tries` : ""}`,
  "destination.held": (e, d) => `${e.destination} is held${d.why ? `: ${d.why}` : ""}`,
  "destination.released": (e) => `Exports to ${e.destination} go on`,
  "storage.low": () => "Space is low: admission is closed",
  "storage.recovered": () => "Space again: admission is open",
  "storage.reclaimed": (e, d) => `${bytes(d.bytes ?? 0)} reclaimed`,
  "actor.crashed": (e, d) => `${d.actor} crashed: ${d.error}`,
  "actor.parked": (e, d) => `${d.actor} is parked after ${plural(d.crashes ?? 0, "crash")}`,
  "storage.rebuilt": (e, d) => `The ledger was made anew from the folders: ${plural(d.jobsFound ?? 0, "job")} found${d.lost ? `; lost: ${d.lost}` : ""}`,
  "config.refused": (e, d) => `Refused: ${d.why ?? (d.problems ?? []).join("; ")}`,
  "config.created": (e, d) => `${d.name ?? "The configuration file"} was set up`,
  "config.changed": (e, d) => `${d.name ?? "The configuration file"} was changed`,
  "kubernetes.lost": (e, d) => `Custom resources cannot be followed: ${d.why}`,
  "kubernetes.reached": () => "Custom resources are followed again",
  "kubernetes.refused": (e, d) => `${d.name} is refused: ${(d.problems ?? []).join("; ")}`,
  "config.deleted": (e, d) => `${d.name ?? "The configuration file"} was removed`,
};

const TONES = {
  bad: ["association.rejected", "association.aborted", "job.faulted", "task.failed", "export.failed", "destination.down", "storage.low", "actor.crashed", "actor.parked", "commitment.refused", "commitment.expired", "group.dropped", "config.refused", "kubernetes.lost", "kubernetes.refused"],
  good: ["job.completed", "export.completed", "destination.up", "storage.recovered", "kubernetes.reached"],
  warn: ["group.held", "destination.held", "destination.tried", "export.given", "job.cancelled", "storage.rebuilt"],
};

const STATE_TONES = { Completed: "good", Succeeded: "good", Faulted: "bad", Failed: "bad", Cancelled: "warn" };

/** What the latest events leave out: one for each step of everything. */
export const IN_PASSING = new Set(["association.requested", "job.state", "export.state", "export.sent", "task.state", "commitment.requested"]);

/** One line about an event; empty: there are no words. */
export const inWords = (event) => WORDS[event.type]?.(event, event.data ?? {}) ?? "";

export const toneOf = (event) =>
  `tone-${Object.keys(TONES).find((tone) => TONES[tone].includes(event.type)) ?? STATE_TONES[event.data?.state] ?? "plain"}`;

/** Why an association was rejected, in the words of PS3.8 Table 9-21. */
export function rejection(row) {
  const result = { 1: "permanently", 2: "transiently: the sender may come back" }[row.result] ?? "";
  const reasons = {
    "1.1": "no reason given", "1.2": "application context name not supported", "1.3": "calling AE Title not recognised",
    "1.7": "called AE Title not recognised", "2.1": "no reason given", "2.2": "protocol version not supported",
    "3.1": "temporary congestion", "3.2": "local limit exceeded",
  };
  const reason = reasons[`${row.source}.${row.reason}`];
  return [result, reason].filter(Boolean).join("; ");
}
