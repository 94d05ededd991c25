// What can be set up: the routes, and the fields that people fill in. Every other key of an entity
// that is changed is sent back as it came.

import { duration } from "./format.js";

const LINES = "One on each line.";
const DEFAULT_PROCESSOR = "aetitle";
const CLARAS = /^(timeout|priority|groupBy|pipeline-.+)$/i; // settings that stand for a field

/** What a processor of an AE Title goes by, whoever says it: its fields, or Clara's settings. */
const inForce = ({ processor, groupBy, timeoutS, pipelines }, several) => [
  several ? `${processor}:` : "", `groups by ${groupBy.join(" + ")}`, `quiet for ${duration(timeoutS)}`,
  Object.keys(pipelines).length ? `runs ${Object.keys(pipelines).join(", ")}` : processor === DEFAULT_PROCESSOR && "no pipeline",
].filter(Boolean).join(several ? " " : " · ");

/** The AE Title with Clara's settings in the fields that they stand for, where a change of them counts. */
function withFieldsInForce(row) {
  const [now, ...others] = row.processing ?? [];
  const settings = Object.entries(row.processorSettings ?? {});
  const rest = settings.filter(([name]) => !CLARAS.test(name));
  if (!now || others.length || now.processor !== DEFAULT_PROCESSOR || row.processors?.length || rest.length === settings.length) return row;
  const { groupBy, timeoutS, priority, pipelines } = now;
  return { ...row, timeoutS, priority, pipelines, grouping: groupBy.length === 1 ? groupBy[0] : groupBy, processorSettings: Object.fromEntries(rest) };
}

export const AE_TITLES = {
  key: "aetitles", title: "AE Titles", one: "AE Title", path: "/api/config/claraaetitle", idOf: (row) => row.name,
  about: "What senders call. Each has its own grouping, pipelines and destinations.",
  summary: ({ aeTitle, processing = [], destinations = [] }) => [aeTitle, processing.map((one) => inForce(one, processing.length > 1)).join("; "), destinations.length ? `to ${destinations.join(", ")}` : ""],
  edited: withFieldsInForce,
  fields: [
    { name: "name", label: "Name", required: true, fixedWhenChanged: true, help: "Letters, digits, dot, dash; it stays." },
    { name: "aeTitle", label: "AE Title", required: true, help: "At most 16 characters; what senders call." },
    { name: "timeoutS", label: "Quiet time in seconds", kind: "number", standard: 5, help: "A group closes when nothing has come for so long." },
    { name: "grouping", label: "Group by", kind: "tags", standard: "0020,000D", help: `A tag, 0020,000D is the study; or association. ${LINES}` },
    { name: "pipelines", label: "Pipelines", kind: "map", help: "name = id. One on each line; a job for each." },
    { name: "destinations", label: "Destinations", kind: "list", help: "Names, for results that name none. @sender sends back." },
    { name: "priority", label: "Priority", kind: "choice", standard: "normal", choices: [["lower", "Lower"], ["normal", "Normal"], ["higher", "Higher"], ["immediate", "Immediate"]] },
    { name: "onAbort", label: "After an abort", kind: "choice", standard: "keep", choices: [["keep", "Keep what has come"], ["drop", "Drop it"], ["hold", "Hold the group"]] },
    { name: "overwriteSameInstance", label: "The same instance again", kind: "choice", standard: false, choices: [[false, "Keep the first"], [true, "Keep the latest"], ["keep-both", "Keep both"]] },
    { name: "port", label: "Port of its own", kind: "number", more: true, help: "Empty: the shared one." },
    { name: "maxAssociations", label: "Associations at once", kind: "number", more: true, standard: 0, help: "0: as many as there may be." },
    { name: "maxAgeS", label: "Oldest group in seconds", kind: "number", more: true, standard: 86400 },
    { name: "maxInstances", label: "Instances in a group", kind: "number", more: true, standard: 0, help: "0: no limit." },
    { name: "lateArrivals", label: "Late arrivals", kind: "choice", standard: "new-job", more: true, choices: [["new-job", "A new job"], ["supplement", "A job that supplements"], ["ignore", "Ignore them"]] },
    { name: "ignoredSopClasses", label: "Ignored SOP classes", kind: "list", more: true, help: "UIDs; answered with success and not stored." },
    { name: "allowedSopClasses", label: "Allowed SOP classes", kind: "list", more: true, help: "UIDs; empty: all." },
    { name: "processor", label: "Processor", more: true, standard: "aetitle" },
    { name: "processorSettings", label: "Settings of the processor", kind: "map", more: true, help: `name = value. ${LINES} A setting that a field above has (timeout, priority, groupBy) decides, and the field has to say the same.` },
  ],
};

export const SOURCES = {
  key: "sources", title: "Sources", one: "source", path: "/api/config/sourceaetitle", idOf: (row) => row.name ?? row.aeTitle,
  about: "Who may send: a calling AE Title and where it calls from.",
  summary: (row) => [row.aeTitle, [].concat(row.host ?? []).join(", ")],
  fields: [
    { name: "name", label: "Name", fixedWhenChanged: true, help: "Empty: its AE Title." },
    { name: "aeTitle", label: "AE Title", required: true, help: "What the sender calls itself." },
    { name: "host", label: "Hosts", kind: "list", required: true, help: "Names, addresses or networks such as 10.1.0.0/16." },
  ],
};

export const DESTINATIONS = {
  key: "destinations", title: "Destinations", one: "destination", path: "/api/config/destinationaetitle", idOf: (row) => row.name, echo: true,
  about: "Where results go.",
  summary: (row) => (row.type === "dicomweb" ? ["DICOMweb", row.url] : row.type === "folder" ? ["folder", row.path] : [row.aeTitle, `${row.host}:${row.port}`, row.tls ? "TLS" : ""]),
  fields: [
    { name: "name", label: "Name", required: true, fixedWhenChanged: true, help: "Letters, digits, dot, dash; it stays." },
    { name: "type", label: "Kind", kind: "choice", standard: "dicom", choices: [["dicom", "DICOM (C-STORE)"], ["dicomweb", "DICOMweb (STOW-RS)"], ["folder", "Folder"]] },
    { name: "aeTitle", label: "AE Title", help: "What it is called (DICOM)." },
    { name: "host", label: "Host", help: "Name or address (DICOM)." },
    { name: "port", label: "Port", kind: "number", help: "104, 11112, … (DICOM)." },
    { name: "url", label: "Address", help: "https://… of the STOW-RS service (DICOMweb)." },
    { name: "path", label: "Folder", help: "An absolute path (folder)." },
    { name: "maxAssociations", label: "Associations at once", kind: "number", more: true, standard: 1 },
    { name: "storageCommitment", label: "Storage commitment", kind: "choice", standard: false, more: true, choices: [[false, "Not asked for"], [true, "Asked for (PS3.4 J)"]] },
    { name: "fallback", label: "Fallback", more: true, help: "The destination that gets what this one does not take." },
  ],
};
