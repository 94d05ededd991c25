// Storage: how full it is, where admission closes, and when that will be if it goes on like this.

import { Gauge } from "./charts.js";
import { h, say, show } from "./dom.js";
import { bytes, count, duration } from "./format.js";
import { card, pill, setPill } from "./ui.js";

const ROUTE = "/api/storage";
const WORTH_TELLING_S = 30 * 86400;
const EVERY_TICKS = 20; // of 250 ms

export class StorageCard {
  constructor({ model, api }) {
    Object.assign(this, { model, api, told: null });
    this.state = pill("");
    this.gauge = new Gauge("Storage");
    this.numbers = h("p", { class: "big-line" });
    this.forecast = h("p", { class: "muted" });
    this.holders = h("dl", { class: "facts" });
    const { node, aside } = card("Storage", {}, this.numbers, this.gauge.node, this.forecast, this.holders);
    aside.append(this.state);
    Object.assign(this, { node });
  }

  update(topics) {
    if (topics.has("hello") || topics.has("storage")) {
      this.look();
      this.draw();
    }
  }

  tick(ticks) {
    if (ticks % EVERY_TICKS === 0) this.look();
  }

  async look() {
    if (!this.api.has("get", ROUTE)) return;
    try {
      this.told = await this.api.get(ROUTE);
    } catch (error) {
      if (!(error instanceof this.api.Problem)) throw error; // the next look asks again
    }
    this.draw();
  }

  draw() {
    const { low, reclaimedBytes } = this.model.storage;
    setPill(this.state, low ? "takes nothing" : "open", low ? "bad" : "good");
    const space = this.told ?? this.model.storage;
    const known = space.totalBytes !== undefined;
    show(this.gauge.node, known);
    if (known) {
      const used = space.totalBytes - space.freeBytes;
      const limit = 1 - space.reservedBytes / space.totalBytes;
      say(this.numbers, `${bytes(space.freeBytes)} free of ${bytes(space.totalBytes)}`);
      this.gauge.set(used / space.totalBytes, limit, `${Math.round((100 * used) / space.totalBytes)} % used, nothing is taken above ${Math.round(100 * limit)} %`);
    } else {
      say(this.numbers, low ? "Space is low" : "Space for more");
    }
    if (this.told) this.drawHolders(this.told);
    say(this.forecast, this.words(space, known) || `${bytes(reclaimedBytes)} reclaimed since the start`);
  }

  drawHolders({ places, heldBy, quarantined }) {
    const words = { incoming: "Open groups", closed: "Closed groups", payloads: "Jobs" };
    const lines = [
      ...places.map((each) => [words[each.place], each.items, each.bytes, each.complete]),
      ...heldBy.filter(({ state }) => state === "Faulted" || state === "Cancelled").map((each) => [`${each.state} jobs`, each.jobs, each.bytes, true]),
      ...(quarantined ? [["In quarantine", quarantined, null, true]] : []),
    ];
    this.holders.replaceChildren(...lines.map(([what, number, size, complete]) =>
      h("div", {}, h("dt", {}, what), h("dd", {}, `${count(number)}${size === null ? "" : ` · ${complete ? "" : "over "}${bytes(size)}`}`))));
  }

  words(space, known) {
    const left = this.guess(space, known);
    if (this.model.storage.low) return "Admission is closed: senders are told to come back. It opens by itself when there is space again.";
    return left ? `Full in ${duration(left)} at the rate of the last ten minutes` : "";
  }

  /** From what came in the last ten minutes, as if nothing were reclaimed. */
  guess(space, known) {
    if (!known) return null;
    const rates = this.model.throughput.rates(this.model.now()).slice(-60);
    const rate = rates.reduce((all, [, size]) => all + size, 0) / rates.length;
    const room = space.freeBytes - space.reservedBytes;
    const left = room / rate;
    return rate > 0 && room > 0 && left < WORTH_TELLING_S ? left : null;
  }
}
