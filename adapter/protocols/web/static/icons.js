// Pictures of 20 x 20, drawn in the colour of the text. They say nothing that words do not say.

import { s } from "./dom.js";

const PATHS = {
  now: "M2 10h4l2.5-6 3.5 12 2.5-6H18",
  rejected: "M10 2.5 17 5v5c0 4-3 6.500-7 8-4-1.500-7-4-7-8V5zM7.500 7.500l5 5M12.500 7.500l-5 5",
  jobs: "M3 5h14M3 10h14M3 15h9",
  exports: "M3 11v5h14v-5M10 12V3M6.500 6.500 10 3l3.500 3.500",
  study: "M4 3.500v13M4 6h6M4 10h11M4 14h8",
  system: "M10 3v4M5 13v-2h10v2M3 13h4v4H3zM13 13h4v4h-4zM8 3h4v4H8z",
  setup: "M4 6h7M15 6h1M4 14h1M9 14h7M13 4v4M7 12v4",
  sun: "M10 3V1.500M10 18.500V17M3 10H1.500M18.500 10H17M5 5 4 4M16 16l-1-1M15 5l1-1M4 16l1-1M13.500 10a3.500 3.500 0 1 1-7 0 3.500 3.500 0 0 1 7 0z",
  moon: "M16.500 12.500A7 7 0 0 1 7.500 3.500a7 7 0 1 0 9 9z",
  lock: "M5 9h10v8H5zM7 9V6a3 3 0 0 1 6 0v3",
  key: "M12.500 9.500a3.500 3.500 0 1 0-2.500-2.500L3 14v3h3v-2h2v-2h2z",
};

export function icon(name, label = "") {
  return s(
    "svg",
    { viewBox: "0 0 20 20", class: "icon", "aria-hidden": label ? null : "true", role: label ? "img" : null, "aria-label": label || null },
    s("path", { d: PATHS[name] }),
  );
}
