// REST: requests with the key of this browser tab, problems as the server words them (RFC 9457),
// and which routes there are: pages show what the server's own OpenAPI document lists.

const KEY = "dicom-adapter-key";
let routes = null;
let caller = { name: "", role: "administrator" };
let asking = null;

/** What went wrong: `message` for people, `status` (0: no answer), `problems` one line each. */
export class Problem extends Error {
  constructor(status, body) {
    super(body?.detail || body?.title || `the server answered ${status}`);
    this.status = status;
    this.problems = body?.problems ?? [];
  }
}

export const key = () => sessionStorage.getItem(KEY) ?? "";

export function setKey(text) {
  if (text) sessionStorage.setItem(KEY, text);
  else sessionStorage.removeItem(KEY);
}

/** Who asks people for a key: a function that resolves when there is another one. */
export function onUnauthorized(ask) {
  asking = ask;
}

function headers(given, body) {
  const all = { Accept: "application/json", ...given };
  if (body !== undefined) all["Content-Type"] = "application/json";
  if (key()) all.Authorization = `Bearer ${key()}`;
  return all;
}

async function answered(method, path, { body, given }) {
  try {
    return await fetch(path, {
      method,
      headers: headers(given, body),
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
      credentials: "omit",
    });
  } catch {
    throw new Problem(0, { detail: "the adapter does not answer" });
  }
}

async function asked(method, path, options) {
  let response = await answered(method, path, options);
  while (response.status === 401 && asking) {
    await asking();
    response = await answered(method, path, options);
  }
  if (response.ok) return response;
  throw new Problem(response.status, await response.json().catch(() => null));
}

/** The decoded answer; null if it has none. Throws Problem. */
export async function request(method, path, body, given = {}) {
  const response = await asked(method, path, { body, given });
  const text = await response.text();
  return text ? JSON.parse(text) : null;
}

export const get = (path) => request("GET", path);

/** Body and headers, for what carries an ETag or a next page. */
export async function getWhole(path) {
  const response = await asked("GET", path, { given: {} });
  return { body: await response.json(), headers: response.headers };
}

export async function text(path) {
  return (await asked("GET", path, { given: { Accept: "*/*" } })).text();
}

export async function blob(path, kind) {
  return (await asked("GET", path, { given: { Accept: kind } })).blob();
}

/** For orders that may be sent twice and shall be obeyed once. */
export const once = () => ({ "Idempotency-Key": [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, "0")).join("") });

const shape = (path) => path.replace(/\{[^}]*\}/g, "{}");

/** Learn which routes there are. */
export async function learn() {
  const document = await get("/api/openapi.json");
  routes = new Map();
  for (const [path, methods] of Object.entries(document.paths ?? {})) {
    for (const [method, operation] of Object.entries(methods)) {
      routes.set(`${method} ${shape(path)}`, operation);
    }
  }
  if (has("get", "/api/caller")) caller = await get("/api/caller"); // asks for a key, if one is needed
  return document.info?.version ?? "";
}

/** Whether who asks is an administrator; without keys everybody is. */
export const isAdministrator = () => caller.role === "administrator";

export const who = () => caller;

/** Whether the server has it: has("delete", "/api/associations/{}"). */
export const has = (method, path) => routes?.has(`${method} ${path}`) ?? false;

/** Whether a GET route takes this query parameter. */
export const takes = (path, parameter) =>
  Boolean(routes?.get(`get ${path}`)?.parameters?.some((one) => one.name === parameter && one.in === "query"));

export const part = (text) => encodeURIComponent(text);

export function query(values) {
  const pairs = Object.entries(values).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return pairs.length ? `?${pairs.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join("&")}` : "";
}

/** A metric's values by the value of its label, "" without one; from /metrics. */
export function metric(exposition, name) {
  const found = new Map();
  const line = new RegExp(`^${name}(?:_total)?(?:\\{\\w+="(.*)"\\})? (\\S+)$`);
  for (const each of exposition.split("\n")) {
    const match = line.exec(each);
    if (match) found.set(match[1] ?? "", Number(match[2]));
  }
  return found;
}
