// What the server knows, as entries by kind and id. A stream brings every change; a cut one is taken up where it was.

const kinds = new Map();
const watchers = new Map();
let dirty = new Set();
let timer = 0;
let rev = 0;

export const all = (kind) => kinds.get(kind) || new Map();
export const one = (kind, id) => all(kind).get(id);
export const about = () => one("page", "page") || { acts: [] };
export const may = (act) => about().acts.includes(act);

// watch calls back when an entry of one of some kinds has changed.
export function watch(names, callback) {
  for (const name of names) {
    if (!watchers.has(name)) watchers.set(name, new Set());
    watchers.get(name).add(callback);
  }
  return () => names.forEach((name) => watchers.get(name).delete(callback));
}

function changed(kind) {
  dirty.add(kind);
  timer ||= setTimeout(() => {
    const now = dirty;
    dirty = new Set();
    timer = 0;
    const calls = new Set();
    for (const kind of now) for (const callback of watchers.get(kind) || []) calls.add(callback);
    for (const callback of calls) callback(now);
  }, 0);
}

function take(entries) {
  for (const { kind, id, value } of entries) {
    if (!kinds.has(kind)) kinds.set(kind, new Map());
    if (value === undefined) kinds.get(kind).delete(id);
    else {
      if (typeof value === "object" && !Array.isArray(value)) value.rev = ++rev;
      kinds.get(kind).set(id, value);
    }
    changed(kind);
  }
}

export function connect(onlink) {
  const source = new EventSource("/api/events");
  source.addEventListener("reset", () => {
    for (const kind of kinds.keys()) changed(kind);
    kinds.clear();
  });
  source.onmessage = (e) => take(JSON.parse(e.data));
  source.onopen = () => onlink(true);
  source.onerror = () => onlink(false);
}

export async function get(path) {
  const answer = await fetch(path);
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.error || `HTTP ${answer.status}`);
  return body;
}

export async function act(name, body = {}) {
  const answer = await fetch(`/api/do/${name}`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.error || `HTTP ${answer.status}`);
  return said;
}

export async function upload(file) {
  const answer = await fetch(`/api/file?name=${encodeURIComponent(file.name)}`, {
    method: "POST", headers: { "Content-Type": file.type || "application/octet-stream" }, body: file,
  });
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.error || `HTTP ${answer.status}`);
  return said;
}
