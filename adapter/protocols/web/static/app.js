// The frame around the pages: which one is shown, how the link to the adapter is, theme and key.

import * as api from "./api.js";
import { h, mark, say, show } from "./dom.js";
import { icon } from "./icons.js";
import { Live } from "./live.js";
import { Model } from "./model.js";
import { Now } from "./now.js";
import { Rejected } from "./rejected.js";
import { Jobs } from "./jobs.js";
import { Exports } from "./exports.js";
import { Study } from "./study.js";
import { System } from "./system.js";
import { SetUp } from "./setup.js";
import { ask, empty, tell } from "./ui.js";

const PAGES = [
  ["now", "Now", Now],
  ["rejected", "Rejected", Rejected],
  ["jobs", "Jobs", Jobs],
  ["exports", "Exports", Exports],
  ["study", "Study", Study],
  ["system", "System", System],
  ["setup", "Set-up", SetUp],
];
const FRAME_MS = 100;
const TICK_MS = 250;

const model = new Model();
const main = document.getElementById("main");
const links = new Map();
let page = null;
let topics = new Set();
let drawing = false;
let drawn = 0;

// --- drawing: once per animation frame at most, whatever comes in

function changed(messages) {
  model.take(messages);
  for (const { type } of messages) topics.add(type.split(".")[0]);
  if (!drawing) {
    drawing = true;
    setTimeout(() => requestAnimationFrame(draw), Math.max(0, drawn + FRAME_MS - performance.now()));
  }
}

function draw() {
  drawing = false;
  drawn = performance.now();
  const those = topics;
  topics = new Set();
  page?.update(those);
  if (["hello", "actor", "storage", "destination", "config", "kubernetes"].some((topic) => those.has(topic))) drawHealth();
  drawBadges();
}

function drawBadges() {
  const faulted = model.rows("jobs").filter((row) => row.state === "Faulted").length;
  const failed = model.rows("exports").filter((row) => row.state === "Failed").length;
  const rejected = model.rows("associations").filter((row) => row.state === "rejected").length;
  for (const [name, number, what] of [["jobs", faulted, "faulted"], ["exports", failed, "failed"], ["rejected", rejected, "rejected"]]) {
    const badge = links.get(name).badge;
    show(badge, number > 0);
    say(badge, number > 99 ? "99+" : number);
    mark(badge, "aria-label", `${number} ${what}`);
  }
}

async function drawHealth() {
  const node = document.getElementById("health");
  try {
    const { unreadyBecause, degradedBecause } = await api.get("/health/status");
    mark(node, "class", `health ${unreadyBecause.length ? "bad" : degradedBecause.length ? "warn" : "ok"}`);
    say(node, unreadyBecause.length ? `Takes no new work: ${unreadyBecause.join(", ")}` : degradedBecause.length ? `Degraded: ${degradedBecause.join(", ")}` : "Ready");
    mark(node, "title", node.textContent);
  } catch {
    mark(node, "class", "health");
    say(node, "");
  }
}

// --- which page

function route() {
  const [name, ...rest] = location.hash.replace(/^#\/?/, "").split("?")[0].split("/").map(decodeURIComponent);
  const [key, title, Page] = PAGES.find((each) => each[0] === name) ?? PAGES[0];
  const parameters = new URLSearchParams(location.hash.split("?")[1] ?? "");
  page?.leave?.();
  page = new Page({ model, api, path: rest, parameters });
  main.replaceChildren(h("h1", { tabindex: "-1" }, page.title ?? title), page.node);
  for (const [each, { link }] of links) mark(link, "aria-current", each === key ? "page" : null);
  document.title = `${page.title ?? title} · DICOM Adapter`;
  page.update(new Set(["hello"]));
  window.scrollTo(0, 0);
}

function drawRail() {
  document.getElementById("rail").append(h("ul", {}, PAGES.map(([key, title]) => {
    const badge = h("span", { class: "badge", hidden: true });
    const link = h("a", { href: `#/${key}` }, icon(key), h("span", {}, title), badge);
    links.set(key, { link, badge });
    return h("li", {}, link);
  })));
}

// --- theme and key

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function drawBar() {
  const theme = h("button", { type: "button", class: "quiet icon-only", onclick: () => {
    const wanted = isDark() ? "light" : "dark";
    document.documentElement.dataset.theme = wanted;
    try {
      localStorage.setItem("theme", wanted);
    } catch {
      // storage is switched off: for this page only
    }
    drawTheme();
  } });
  const drawTheme = () => {
    theme.replaceChildren(icon(isDark() ? "sun" : "moon"));
    mark(theme, "aria-label", isDark() ? "Light theme" : "Dark theme");
    mark(theme, "title", isDark() ? "Light theme" : "Dark theme");
  };
  drawTheme();
  const keyButton = h("button", { type: "button", class: "quiet icon-only", id: "forget-key", "aria-label": "Forget the API key", title: "Forget the API key", onclick: () => {
    api.setKey("");
    location.reload();
  } }, icon("key"));
  show(keyButton, false);
  document.getElementById("bar-end").append(keyButton, theme);
}

let asking = null;

function askForKey() {
  asking ??= ask({
    title: "An API key, please",
    text: "This adapter wants a key (api.auth = \"api-key\"). It is kept for this browser tab only.",
    yes: "Use this key",
    no: "Not now",
    fields: [{ name: "key", label: "API key", input: { type: "password", autocomplete: "off", required: true } }],
  }).then((answer) => {
    asking = null;
    if (answer === null) throw new api.Problem(401, { detail: "nothing can be shown without a key" });
    api.setKey(answer.key.trim());
  });
  return asking;
}

// --- the link

const LINK = { connecting: "Connecting", live: "Live", retrying: "Reconnecting" };

function told(state, why) {
  const node = document.getElementById("link");
  mark(node, "class", `link ${state}`);
  say(node, LINK[state] + (why ? `: ${why}` : ""));
  mark(document.body, "data-link", state);
}

/** Wait until it is to be tried again: by a click if a key is missing, else by itself. */
function again({ status, message }) {
  if (status !== 401) {
    if (status) tell(message, "bad");
    return new Promise((resolve) => setTimeout(resolve, 3000));
  }
  return new Promise((resolve) => {
    const enter = h("button", { type: "button", class: "primary", onclick: resolve }, "Enter a key");
    main.replaceChildren(h("h1", {}, "A key is needed"), empty("Nothing is shown without a key", message, h("p", {}, enter)));
  });
}

async function begin() {
  drawRail();
  api.onUnauthorized(askForKey);
  drawBar();
  told("connecting", "");
  for (;;) {
    try {
      await api.learn();
      break;
    } catch (error) {
      if (!(error instanceof api.Problem)) throw error;
      await again(error);
    }
  }
  mark(document.body, "data-role", api.who().role);
  show(document.getElementById("forget-key"), Boolean(api.key()));
  route();
  addEventListener("hashchange", () => {
    route();
    main.querySelector("h1").focus({ preventScroll: true });
  });
  setInterval(() => page?.tick?.(), TICK_MS);
  live.start();
}

document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the hash is the page's address
  main.focus();
});
const live = new Live(changed, told);
globalThis.dicomAdapter = { model, live }; // for whoever looks with the browser's tools
begin();
