// Now: what is going on.

import { Lane } from "./charts.js";
import { h, mark, say } from "./dom.js";
import { bytes, count, plural, rate } from "./format.js";
import { Activity } from "./activity.js";
import { OpenAssociations } from "./associations.js";
import { OpenGroups } from "./open_groups.js";
import { Destinations } from "./destinations.js";
import { JobStates } from "./job_states.js";
import { StorageCard } from "./storage.js";
import { BUCKET_S } from "./throughput.js";
import { card } from "./ui.js";

class Tile {
  constructor(label, href = null) {
    this.value = h("span", { class: "tile-value" }, "–");
    this.note = h("span", { class: "tile-note" });
    this.node = h(href ? "a" : "div", { class: "tile", href }, h("span", { class: "tile-label" }, label), this.value, this.note);
  }

  set(value, note, tone = "") {
    say(this.value, value);
    say(this.note, note);
    mark(this.node, "data-tone", tone || null);
  }
}

export class Now {
  constructor(context) {
    this.context = context;
    this.model = context.model;
    this.tiles = {
      receiving: new Tile("Receiving"),
      associations: new Tile("Associations"),
      groups: new Tile("Open groups"),
      jobs: new Tile("Jobs in hand", "#/jobs"),
      exports: new Tile("Exports waiting", "#/exports"),
      trouble: new Tile("Needs a look", "#/jobs?state=Faulted"),
    };
    this.lanes = [
      new Lane({ title: "Instances per second", tone: "one", worded: (value) => `${rate(value)}/s`, bucketS: BUCKET_S }),
      new Lane({ title: "Data per second", tone: "two", worded: (value) => `${bytes(value)}/s`, bucketS: BUCKET_S }),
    ];
    this.parts = [
      new OpenAssociations(context),
      new OpenGroups(context),
      new JobStates(context),
      new Destinations(context),
      new StorageCard(context),
      new Activity(context),
    ];
    const [associations, groups, jobs, destinations, storage, activity] = this.parts;
    const plot = card("Received in the last hour", { class: "wide" }, h("div", { class: "lanes" }, this.lanes.map((lane) => lane.node)));
    this.node = h("div", {},
      h("div", { class: "tiles" }, Object.values(this.tiles).map((tile) => tile.node)),
      plot.node,
      h("div", { class: "columns" },
        h("div", {}, associations.node, groups.node, activity.node),
        h("div", {}, destinations.node, h("div", { class: "pair" }, jobs.node, storage.node))));
    this.recent = [];
    this.ticks = 0;
  }

  update(topics) {
    for (const part of this.parts) part.update(topics);
    this.drawTiles();
  }

  tick() {
    this.ticks += 1;
    for (const part of this.parts) part.tick?.(this.ticks);
    if (this.ticks % 4 !== 1) return;
    this.drawTiles();
    const rates = this.model.throughput.rates(this.model.now());
    this.lanes[0].set(rates.map(([instances]) => instances));
    this.lanes[1].set(rates.map(([, size]) => size));
  }

  leave() {
    for (const part of this.parts) part.leave?.();
  }

  /** What came in the last two buckets, as a rate. */
  receiving() {
    const rates = this.model.throughput.rates(this.model.now()).slice(-2);
    return [0, 1].map((index) => (rates[0][index] + rates[1][index]) / 2);
  }

  drawTiles() {
    const { model, tiles } = this;
    const [instances, size] = this.receiving();
    tiles.receiving.set(instances ? `${rate(instances)}/s` : "idle", instances ? `${bytes(size)}/s` : "no instances just now", instances ? "live" : "");
    const open = model.rows("associations").filter((row) => row.state === "accepted" || row.state === "requested");
    tiles.associations.set(count(open.length), open.length ? "open" : "nobody is sending", open.length ? "live" : "");
    const groups = model.rows("groups");
    const held = groups.filter((row) => row.held).length;
    tiles.groups.set(count(groups.length), held ? `${count(held)} held` : `${count(groups.reduce((sum, row) => sum + row.instances, 0))} instances`, held ? "warn" : "");
    const jobs = model.rows("jobs");
    const inHand = jobs.filter((row) => !["Completed", "Faulted", "Cancelled"].includes(row.state));
    const queued = inHand.filter((row) => row.state === "Queued").length;
    tiles.jobs.set(count(inHand.length), queued ? `${count(queued)} queued` : "none queued", "");
    const exports = model.rows("exports").filter((row) => row.state !== "Completed" && row.state !== "Failed");
    const down = model.rows("destinations").filter((row) => row.state === "down").length;
    tiles.exports.set(count(exports.length), down ? `${count(down)} destination${down > 1 ? "s" : ""} down` : "all destinations up", down ? "bad" : "");
    const faulted = jobs.filter((row) => row.state === "Faulted").length;
    const failed = model.rows("exports").filter((row) => row.state === "Failed").length;
    tiles.trouble.set(count(faulted + failed), faulted + failed ? `${plural(faulted, "job")}, ${plural(failed, "export")}` : "nothing has failed", faulted + failed ? "bad" : "good");
    mark(tiles.trouble.node, "href", failed && !faulted ? "#/exports?state=Failed" : "#/jobs?state=Faulted");
  }
}
