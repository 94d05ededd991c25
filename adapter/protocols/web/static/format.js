// Numbers, sizes and times for people. Digits are tabular: columns do not dance.

const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];

/** Bytes in powers of 1000, as storage.* of the configuration counts them. */
export function bytes(count) {
  if (count === null || count === undefined || !Number.isFinite(count)) return "–";
  let value = Math.abs(count);
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) [value, unit] = [value / 1000, unit + 1];
  const digits = unit === 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return `${count < 0 ? "−" : ""}${value.toFixed(digits)} ${UNITS[unit]}`;
}

export const count = (value) => (value === null || value === undefined ? "–" : Number(value).toLocaleString("en"));

export function rate(value) {
  if (!value) return "0";
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

/** Seconds as "12 s", "3 min 20 s", "5 h 12 min", "3 d 4 h". */
export function duration(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "–";
  const whole = Math.max(0, Math.round(seconds));
  if (seconds < 1 && seconds > 0) return `${Math.max(1, Math.round(seconds * 1000))} ms`;
  if (seconds < 10 && seconds % 1) return `${seconds.toFixed(1)} s`;
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return joined(whole, 60, "min", "s");
  if (whole < 86400) return joined(Math.floor(whole / 60), 60, "h", "min");
  return joined(Math.floor(whole / 3600), 24, "d", "h");
}

function joined(value, size, big, small) {
  const rest = value % size;
  return `${Math.floor(value / size)} ${big}${rest ? ` ${rest} ${small}` : ""}`;
}

/** What a ring shows: "12", "3m", "5h", "2d". */
export function brief(seconds) {
  const whole = Math.max(0, Math.ceil(seconds));
  if (whole < 100) return `${whole}`;
  if (whole < 6000) return `${Math.round(whole / 60)}m`;
  return whole < 172800 ? `${Math.round(whole / 3600)}h` : `${Math.round(whole / 86400)}d`;
}

const two = (value) => String(value).padStart(2, "0");

/** The time of day here; with the date if it is another day. */
export function clock(text, now = Date.now()) {
  if (!text) return "–";
  const at = new Date(text);
  if (Number.isNaN(at.getTime())) return String(text);
  const time = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  const today = new Date(now).toDateString() === at.toDateString();
  return today ? time : `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${time}`;
}

export function exact(text) {
  const at = new Date(text);
  return `${clock(text)}.${String(at.getMilliseconds()).padStart(3, "0")}`;
}

/** A long UID or id with its middle left out; the whole one belongs into `title`. */
export function short(text, length = 18) {
  const whole = String(text ?? "");
  if (whole.length <= length) return whole;
  const tail = Math.ceil((length - 1) * 0.6);
  return `${whole.slice(0, length - 1 - tail)}…${whole.slice(-tail)}`;
}

export const plural = (number, word) => `${count(number)} ${word}${number === 1 ? "" : word.endsWith("sh") ? "es" : "s"}`;
