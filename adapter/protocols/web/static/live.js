// The event stream: a WebSocket that is opened again when it ends and goes on where it stopped
// (docs/events.md); Server-Sent Events where no WebSocket comes through and the server has them.

import { get, key } from "./api.js";

const WAIT_MS = [250, 500, 1000, 2000, 5000];
const SILENT_MS = 20000; // then the server is asked whether it lives; a dead peer is not told
const WEBSOCKET_TRIES = 3;
const REFUSED = 1008; // the key was revoked or has expired

export class Live {
  /** take(messages) gets every frame; told(state, why) how the link is. */
  constructor(take, told) {
    Object.assign(this, { take, told });
    this.epoch = "";
    this.seq = null;
    this.tries = 0;
    this.opened = false; // by a WebSocket, ever
    this.plain = false; // none comes through
    this.link = null;
    this.heard = 0;
    this.timer = 0;
    addEventListener("online", () => this.again());
    document.addEventListener("visibilitychange", () => document.hidden || this.look());
    setInterval(() => this.look(), SILENT_MS / 2);
  }

  start() {
    clearTimeout(this.timer);
    this.told(this.tries ? "retrying" : "connecting", "");
    const query = this.seq === null ? "" : `?since=${this.seq}&epoch=${this.epoch}`;
    this.plain ||= !this.opened && this.tries >= WEBSOCKET_TRIES;
    this.link = this.plain ? this.stream(query) : this.socket(query);
  }

  socket(query) {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const protocols = key() ? ["dicom-adapter", `key.${key()}`] : [];
    const socket = new WebSocket(`${scheme}//${location.host}/api/events${query}`, protocols);
    socket.onmessage = (message) => this.heardFrom(socket, message.data);
    socket.onclose = (close) => this.ended(socket, close.code, close.reason);
    return socket;
  }

  /** Server-Sent Events by fetch: EventSource cannot show a key. */
  stream(query) {
    const abort = new AbortController();
    const link = { close: () => abort.abort() };
    const headers = key() ? { Authorization: `Bearer ${key()}` } : {};
    this.read(link, fetch(`/api/events/stream${query}`, { headers, signal: abort.signal, cache: "no-store" }));
    return link;
  }

  async read(link, answer) {
    try {
      const { status, body } = await answer;
      if (status === 401) {
        this.ended(link, REFUSED, "");
        return;
      }
      const reader = body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        const blocks = (rest + value).split("\n\n");
        rest = blocks.pop();
        this.heard = Date.now(); // a comment, too, is a sign of life
        for (const line of blocks.flatMap((block) => block.split("\n"))) {
          if (line.startsWith("data: ")) this.heardFrom(link, line.slice(6));
        }
      }
      this.ended(link, 1012, "");
    } catch {
      this.ended(link, 1006, "");
    }
  }

  heardFrom(link, text) {
    if (link !== this.link) return;
    this.heard = Date.now();
    this.frame(JSON.parse(text));
  }

  frame(messages) {
    for (const message of messages) {
      if (message.type === "hello" && !message.snapshot && message.epoch !== this.epoch) {
        this.fresh(); // another life of the adapter: our number means nothing there
        return;
      }
      if (message.type === "gap") {
        this.fresh();
        return;
      }
      if (message.type === "hello") {
        this.opened ||= !this.plain;
        this.tries = 0;
        this.epoch = message.epoch;
        if (message.snapshot) this.seq = message.seq;
        this.told("live", "");
      } else {
        this.seq = message.seq;
      }
    }
    this.take(messages);
  }

  /** Begin anew with a snapshot. */
  fresh() {
    this.seq = null;
    this.drop();
    this.start();
  }

  drop() {
    const link = this.link;
    this.link = null;
    link?.close();
  }

  ended(link, code, reason) {
    if (link !== this.link) return;
    this.link = null;
    const wait = WAIT_MS[Math.min(this.tries, WAIT_MS.length - 1)] * (0.75 + Math.random() / 2);
    this.tries += 1;
    this.told("retrying", code === 1012 ? "it is restarting" : reason);
    const later = () => (this.timer = setTimeout(() => this.start(), wait));
    if (code === REFUSED) this.keyAgain().then(later);
    else later();
  }

  /** The first request that is refused asks people for another key; whoever gives none is asked later. */
  keyAgain() {
    return get("/api/caller").catch((problem) => problem);
  }

  again() {
    if (this.link === null) this.start();
  }

  async look() {
    if (this.link === null) {
      if (!document.hidden) this.again();
      return;
    }
    const link = this.link;
    if (Date.now() - this.heard < SILENT_MS) return;
    try {
      await fetch("/health/live", { cache: "no-store", signal: AbortSignal.timeout(5000) });
      this.heard = Date.now();
    } catch {
      if (link === this.link) {
        this.drop();
        this.ended(null, 1006, "");
      }
    }
  }
}
