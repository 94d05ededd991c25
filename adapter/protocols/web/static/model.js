// What all events amount to: the fold of adapter/domain/snapshot.py, for this page. The server
// sends a snapshot, and every event after it is folded in here; tests/browser holds both equal.

import { Groups } from "./groups.js";
import { Throughput } from "./throughput.js";

const ENDED_MAX = 200;
const NOTES_MAX = 400;
const JOINED_MAX = 500;
const RECLAIMED_MAX = 5000;
const OVER = {
  associations: new Set(["rejected", "released", "aborted"]),
  jobs: new Set(["Completed", "Faulted", "Cancelled"]),
  exports: new Set(["Completed", "Failed"]),
  tasks: new Set(["Succeeded", "Failed"]),
  commitments: new Set(["refused", "reported", "expired"]),
};
const SECTIONS = ["associations", "groups", "jobs", "exports", "tasks", "commitments", "destinations", "actors"];

export class Model {
  constructor() {
    this.skewMs = 0; // this clock minus the server's
    this.notes = []; // the latest events that a person may want to read, newest first
    this.clear();
  }

  clear() {
    this.sections = Object.fromEntries(SECTIONS.map((name) => [name, new Map()]));
    this.over = Object.fromEntries(SECTIONS.map((name) => [name, new Map()]));
    this.over.rejected = new Map(); // they push out each other only
    this.groups = new Groups(this.sections.groups);
    this.throughput = new Throughput();
    this.reclaimed = new Set(); // jobs that are gone, the latest
    this.joined = new Map(); // association -> groups its instances went into
    this.storage = { low: false, reclaimedBytes: 0 };
  }

  /** The server's time, in ms. */
  now() {
    return Date.now() - this.skewMs;
  }

  rows(name) {
    return [...this.sections[name].values()];
  }

  take(messages) {
    for (const message of messages) {
      if (message.type === "hello") this.hello(message);
      else if (message.type !== "gap") this.apply(message);
    }
    const last = messages[messages.length - 1];
    if (last?.time) this.skewMs = Date.now() - Date.parse(last.time);
  }

  hello(message) {
    const snapshot = message.snapshot;
    if (!snapshot) return;
    this.clear();
    for (const name of SECTIONS) {
      for (const row of snapshot[name] ?? []) {
        const key = row.id ?? row.name ?? row.transactionUid;
        this.sections[name].set(key, row);
        if (OVER[name]?.has(row.state)) this.over[row.state === "rejected" ? "rejected" : name].set(key, null);
      }
    }
    this.skewMs = Date.now() - Date.parse(snapshot.time);
    this.groups.take(Date.parse(snapshot.time));
    this.throughput.take(snapshot.throughput);
    this.storage = snapshot.storage;
    this.notes = snapshot.latest.reverse();
  }

  apply(event) {
    const [topic, verb] = event.type.split(".");
    const at = Date.parse(event.time);
    const data = event.data ?? {};
    this[`fold_${topic}`]?.(event, verb, data, at);
    if (topic !== "instance") {
      this.notes.unshift(event);
      if (this.notes.length > NOTES_MAX) this.notes.length = NOTES_MAX;
    }
  }

  row(section, key, made) {
    const rows = this.sections[section];
    if (!rows.has(key)) rows.set(key, made);
    return rows.get(key);
  }

  fold_association(event, verb, data, at) {
    const row = this.row("associations", event.association, {
      id: event.association, aeTitle: event.aeTitle ?? "", openedAt: event.time, stored: 0, bytes: 0, refused: 0,
    });
    const { stored, bytes, refused } = row;
    Object.assign(row, data, { stored, bytes, refused, state: verb, changedAt: event.time });
    this.end("associations", event.association, OVER.associations.has(verb), verb === "rejected" ? "rejected" : "associations");
    if (OVER.associations.has(verb)) this.groups.associationEnded(event.association, at);
  }

  fold_instance(event, verb, data, at) {
    const size = data.bytes ?? 0;
    const association = this.sections.associations.get(event.association);
    if (association && verb === "stored") {
      association.stored += 1;
      association.bytes += size;
    } else if (association && verb === "refused") {
      association.refused += 1;
    }
    if (verb === "stored") this.throughput.add(at, 1, size);
    if (verb !== "stored" && verb !== "duplicate") return;
    const kept = verb === "stored" || data.kept === "both";
    if (!this.joined.has(event.association)) this.joined.set(event.association, new Set());
    if (this.joined.size > JOINED_MAX) this.joined.delete(this.joined.keys().next().value);
    for (const group of data.groups ?? [event.group ?? ""]) {
      this.joined.get(event.association)?.add(group);
      if (this.sections.groups.has(group)) this.groups.arrived(group, event.association ?? "", at, kept ? 1 : 0, kept ? size : 0);
    }
  }

  fold_group(event, verb, data, at) {
    this.groups.apply(event, verb, data, at);
  }

  fold_job(event, _verb, data) {
    const row = this.row("jobs", event.job, { id: event.job, openedAt: event.time });
    Object.assign(row, data, { aeTitle: event.aeTitle ?? "", group: event.group ?? "", changedAt: event.time });
    this.end("jobs", event.job, OVER.jobs.has(row.state));
  }

  fold_export(event, verb, data) {
    const row = this.row("exports", event.export, { id: event.export, openedAt: event.time });
    if (verb === "sent") row.sent = (row.sent ?? 0) + (data.delivered ?? 0);
    else Object.assign(row, data);
    Object.assign(row, { job: event.job ?? "", destination: event.destination ?? "", changedAt: event.time });
    this.end("exports", event.export, OVER.exports.has(row.state));
  }

  fold_task(event, _verb, data) {
    const key = data.task ?? "";
    const row = this.row("tasks", key, { id: key, openedAt: event.time });
    Object.assign(row, data, { job: event.job ?? "", changedAt: event.time });
    this.end("tasks", key, OVER.tasks.has(row.state));
  }

  fold_commitment(event, verb, data) {
    const uid = data.transactionUid ?? "";
    const row = this.row("commitments", uid, { transactionUid: uid, openedAt: event.time });
    Object.assign(row, data, { state: verb, export: event.export ?? "", changedAt: event.time });
    this.end("commitments", uid, verb !== "requested");
  }

  fold_destination(event, verb, data) {
    const name = event.destination;
    const old = this.sections.destinations.get(name) ?? { state: "unknown", changedAt: event.time };
    if (verb === "held" || verb === "released") {
      const { held: _held, ...rest } = old;
      this.sections.destinations.set(name, { ...rest, name, changedAt: event.time, ...(verb === "held" ? { held: true } : {}) });
      return;
    }
    this.sections.destinations.set(name, {
      name, state: verb === "up" ? "up" : "down",
      changedAt: verb === "tried" ? old.changedAt : event.time,
      ...(old.held ? { held: true } : {}), ...data,
    });
  }

  fold_storage(event, verb, data) {
    if (verb !== "reclaimed") {
      Object.assign(this.storage, data, { low: verb === "low", changedAt: event.time });
      return;
    }
    this.storage.reclaimedBytes += data.bytes ?? 0;
    this.sections.jobs.delete(event.job);
    this.reclaimed.add(event.job);
    if (this.reclaimed.size > RECLAIMED_MAX) this.reclaimed.delete(this.reclaimed.values().next().value);
    for (const name of ["exports", "tasks"]) {
      for (const [key, row] of this.sections[name]) if (row.job === event.job) this.sections[name].delete(key);
    }
  }

  fold_actor(event, verb, data) {
    const row = this.row("actors", data.actor, { name: data.actor, crashes: 0 });
    Object.assign(row, data, { state: verb, changedAt: event.time });
  }

  /** Note whether a row has ended; too many of those are too many by the oldest. */
  end(section, key, ended, pushedOut = section) {
    const others = this.over[pushedOut];
    others.delete(key);
    if (ended) others.set(key, null);
    if (others.size > ENDED_MAX) {
      const oldest = others.keys().next().value;
      others.delete(oldest);
      this.sections[section].delete(oldest);
    }
  }
}
