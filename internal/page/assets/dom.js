// Elements are made here, and nowhere from text: what a chat or an agent says never becomes HTML.

const SVG = "http://www.w3.org/2000/svg";

function fill(el, props, children) {
  for (const [name, value] of Object.entries(props || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) el.addEventListener(name.slice(2), value);
    else if (name === "class") el.setAttribute("class", value);
    else if (name === "data") Object.assign(el.dataset, value);
    else if (name === "style") for (const [k, v] of Object.entries(value)) el.style.setProperty(k, v);
    else if (name === "value" || name === "checked" || name === "disabled" || name === "selected") el[name] = value;
    else el.setAttribute(name, value === true ? "" : String(value));
  }
  append(el, children);
  return el;
}

function append(el, children) {
  for (const child of children.flat(9)) {
    if (child === undefined || child === null || child === false || child === "") continue;
    el.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

export const h = (tag, props, ...children) => fill(document.createElement(tag), props, children);
export const svg = (tag, props, ...children) => fill(document.createElementNS(SVG, tag), props, children);
export const $ = (selector, root = document) => root.querySelector(selector);

export function put(el, ...children) {
  el.replaceChildren();
  append(el, children);
  return el;
}

// keyed fills a list, and makes an item anew only if its text of what it is made of is another: what has the focus, or is being
// pressed, stays.
export function keyed(el, items, key, make) {
  const before = el.drawn || new Map();
  const now = new Map();
  let at = el.firstChild;
  for (const item of items) {
    const id = key(item);
    const [made, draw] = make(item);
    const old = before.get(id);
    const shown = old && old.made === made ? old : { made, el: draw() };
    if (old && old !== shown) {
      const had = old.el.contains(document.activeElement);
      if (at === old.el) at = shown.el;
      old.el.replaceWith(shown.el);
      if (had) shown.el.querySelector("button,a,input")?.focus();
    }
    now.set(id, shown);
    if (at !== shown.el) el.insertBefore(shown.el, at);
    else at = at.nextSibling;
  }
  for (const [id, old] of before) if (!now.has(id)) old.el.remove();
  el.drawn = now;
}

const two = (n) => String(n).padStart(2, "0");

export function clock(ms) {
  if (!ms) return "never";
  const d = new Date(ms);
  const time = `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
  return d.toDateString() === new Date().toDateString() ? time : `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${time}`;
}

export function span(ms) {
  if (ms < 0) return "-" + span(-ms);
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms < 3_600_000) return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`;
  return `${Math.floor(ms / 3_600_000)} h ${Math.round((ms % 3_600_000) / 60_000)} min`;
}

export const money = (dollars) => (dollars === 0 ? "$0" : dollars < 0.01 ? `$${dollars.toFixed(7).replace(/0+$/, "")}` : `$${dollars.toFixed(4)}`);

export const size = (n) => (n < 1024 ? `${n} bytes` : n < 1 << 20 ? `${(n / 1024).toFixed(1)} KB` : `${(n / (1 << 20)).toFixed(1)} MB`);

const seconds = (ms) => h("time", { class: "at", datetime: new Date(ms).toISOString(), title: new Date(ms).toString() }, clock(ms));
export const time = (ms) => (ms ? seconds(ms) : "never");

// hush says something to those who listen to the page.
export function hush(text) {
  $("#say").textContent = text;
}

export function toast(text, bad) {
  const el = h("div", { class: bad ? "toast bad" : "toast" }, h("span", {}, text),
    bad && h("button", { type: "button", class: "quiet", "aria-label": "Dismiss", onclick: () => el.remove() }, "×"));
  const all = $("#toasts");
  all.append(el);
  while (all.children.length > 3) all.firstChild.remove();
  setTimeout(() => el.remove(), bad ? 12_000 : 3_500);
}

// dialog shows a form, and answers with what was filled in, or null.
export function dialog(title, body, buttons) {
  const box = $("#dialog");
  return new Promise((resolve) => {
    const end = (value) => {
      box.close();
      resolve(value);
    };
    const form = h("form", { method: "dialog", onsubmit: (e) => { e.preventDefault(); end(form); } },
      h("h2", { id: "dialog-title" }, title), body,
      h("div", { class: "row end" },
        h("button", { type: "button", class: "quiet", onclick: () => end(null) }, "Cancel"),
        h("button", { type: "submit", class: buttons?.bad ? "bad" : "main" }, buttons?.ok || "OK")));
    put(box, form);
    box.oncancel = () => resolve(null);
    box.showModal();
    (form.querySelector("textarea,input,select") || form.querySelector("button[type=submit]")).focus();
  });
}

// confirm asks before something is lost.
export const sure = async (title, text, ok) => (await dialog(title, h("p", {}, text), { ok, bad: true })) !== null;

// Windowed shows a long list: of its items only those that are near the window are elements.
export class Windowed {
  constructor(el, draw, { follow = false, guess = 64, role = "feed", label = "" } = {}) {
    this.el = el;
    this.draw = draw;
    this.guess = guess;
    this.follow = follow;
    this.items = [];
    this.heights = new Map();
    this.drawn = new Map();
    this.top = h("div", { "aria-hidden": "true" });
    this.body = h("div", { class: "window-body", role, "aria-label": label });
    this.bottom = h("div", { "aria-hidden": "true" });
    put(el, this.top, this.body, this.bottom);
    el.classList.add("window");
    this.atEnd = true;
    el.addEventListener("scroll", () => {
      const sizes = `${el.clientHeight} ${el.scrollHeight}`;
      if (sizes === this.lastSizes) this.atEnd = el.scrollHeight - el.scrollTop - el.clientHeight < 60; // somebody scrolled, nothing grew
      this.lastSizes = sizes;
      this.place();
    }, { passive: true });
    this.sizes = new ResizeObserver(() => this.measure());
    this.sizes.observe(el);
    this.sizes.observe(this.body);
  }

  height(item) {
    return this.heights.get(item.id) || this.guess;
  }

  // set takes items with an id and a rev; an item whose rev is another is drawn anew.
  set(items) {
    const end = this.atEnd && this.follow;
    this.items = items;
    this.place();
    if (end) this.end();
  }

  end() {
    this.el.scrollTop = this.el.scrollHeight;
    this.atEnd = true;
    this.place();
    this.el.scrollTop = this.el.scrollHeight;
  }

  reveal(id) {
    const at = this.items.findIndex((item) => item.id === id);
    if (at < 0) return null;
    let y = 0;
    for (let i = 0; i < at; i++) y += this.height(this.items[i]);
    if (y < this.el.scrollTop || y + this.height(this.items[at]) > this.el.scrollTop + this.el.clientHeight) this.el.scrollTop = Math.max(0, y - 80);
    this.place();
    return this.drawn.get(id)?.el || null;
  }

  place() {
    const from = this.el.scrollTop - 600;
    const to = this.el.scrollTop + (this.el.clientHeight || 600) + 600;
    let y = 0, above = 0, below = 0;
    const visible = [];
    this.items.forEach((item, i) => {
      const height = this.height(item);
      if (y + height < from) above += height;
      else if (y > to) below += height;
      else visible.push([item, i]);
      y += height;
    });
    this.top.style.height = `${above}px`;
    this.bottom.style.height = `${below}px`;
    const want = new Map();
    let before = null;
    for (const [item, i] of visible) {
      let shown = this.drawn.get(item.id);
      if (!shown || shown.rev !== item.rev) {
        const had = shown?.el.contains(document.activeElement);
        const el = this.draw(item, shown?.el);
        if (shown && shown.el !== el) shown.el.replaceWith(el);
        if (had && !el.contains(document.activeElement)) (el.querySelector("[tabindex],button,a") || el).focus?.({ preventScroll: true });
        shown = { el, rev: item.rev };
      }
      if (this.body.getAttribute("role") === "feed") {
        shown.el.setAttribute("aria-posinset", i + 1);
        shown.el.setAttribute("aria-setsize", this.items.length);
      }
      want.set(item.id, shown);
      const next = before ? before.nextSibling : this.body.firstChild;
      if (next !== shown.el) this.body.insertBefore(shown.el, next);
      before = shown.el;
    }
    for (const [id, shown] of this.drawn) if (!want.has(id)) shown.el.remove();
    this.drawn = want;
  }

  measure() {
    let changed = this.seen !== this.el.clientHeight;
    this.seen = this.el.clientHeight;
    for (const [id, shown] of this.drawn) {
      const height = shown.el.getBoundingClientRect().height;
      if (height && Math.abs((this.heights.get(id) || 0) - height) > 0.5) {
        this.heights.set(id, height);
        changed = true;
      }
    }
    if (!changed) return;
    if (this.atEnd && this.follow) this.end();
    else this.place();
  }
}

// json shows a JSON value, with long texts cut.
export function json(value, label) {
  const pre = h("pre", { class: "json", tabindex: 0, "aria-label": label });
  const text = JSON.stringify(value, (_, v) => (typeof v === "string" && v.length > 4000 ? v.slice(0, 300) + `… (${v.length} characters)` : v), 2);
  const tokens = /("(?:[^"\\]|\\.)*")(\s*:)?|\b(true|false|null)\b|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)/g;
  let last = 0;
  for (const m of (text || "").matchAll(tokens)) {
    pre.append(text.slice(last, m.index));
    pre.append(h("span", { class: m[2] ? "j-key" : m[1] ? "j-text" : "j-word" }, m[1] || m[0]), m[2] || "");
    last = m.index + m[0].length;
  }
  pre.append((text || "").slice(last));
  return pre;
}

export async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    toast(`${what} is in the clipboard.`);
  } catch {
    const area = h("textarea", { class: "wide", rows: 10, readonly: true, "aria-label": what }, text);
    await dialog(what, area, { ok: "Done" });
  }
}
