// The chats: who writes, what the gateway says, and what a person can do there.

import { $, Windowed, dialog, h, hush, keyed, put, size, sure, time, toast } from "./dom.js";
import { about, act, all, may, one, upload, watch } from "./store.js";
import { markup, visible } from "./markup.js";

export const platforms = { discord: "Discord", telegram: "Telegram", slack: "Slack", whatsapp: "WhatsApp" };
const keep = (name, value) => localStorage.setItem(`dormouse.${name}`, JSON.stringify(value));
const kept = (name, other) => JSON.parse(localStorage.getItem(`dormouse.${name}`) || "null") ?? other;

let columns = Math.max(1, Math.min(4, kept("columns", 1)));
let open = kept("open", []);
const drafts = new Map(); // by chat: { user, text, reply, edit, thread, files }
const seen = new Map(); // by chat: n of the last message that was shown
const sorted = new Map(); // by chat: its messages in order, kept between changes
const draft = (id) => drafts.get(id) || drafts.set(id, { text: "", files: [] }).get(id);

function messagesOf(chat) {
  return sorted.get(chat) || [];
}

function sortMessages() {
  const by = new Map();
  for (const m of all("message").values()) {
    if (!by.has(m.chat)) by.set(m.chat, []);
    by.get(m.chat).push(m);
  }
  sorted.clear();
  for (const [chat, list] of by) sorted.set(chat, list.sort((a, b) => a.n - b.n));
}

const states = {
  sent: "sent", buffered: "buffered: the gateway is poked", lost: "nobody got it", journalled: "kept", asked: "the agent is asked",
  answered: "answered", "said nothing": "read, and nothing said", done: "done, without a turn", stopped: "stopped", waiting: "waiting", dead: "dead", dropped: "dropped",
  "seen before": "seen before",
};

export function chats(root, go) {
  const list = h("ul", { class: "chat-list" });
  const stage = h("div", { class: "columns" });
  const count = h("select", { "aria-label": "Chats side by side", onchange: () => { columns = +count.value; keep("columns", columns); show(); } },
    [1, 2, 3, 4].map((n) => h("option", { value: n }, n === 1 ? "One chat" : `${n} side by side`)));
  count.value = columns;
  const side = h("aside", { class: "side", "aria-label": "Chats" },
    h("div", { class: "row" }, h("h2", {}, "Chats"), may("chat") && h("button", { type: "button", class: "quiet", onclick: newChat }, "New chat")), count, list);
  put(root, h("div", { class: "chats" }, side, stage));
  const shown = new Map();

  function pick(id, focus = true) {
    open = [id, ...open.filter((other) => other !== id)].slice(0, 4);
    keep("open", open);
    root.firstChild.classList.add("one");
    show();
    if (focus) $("textarea", shown.get(id)?.el)?.focus();
  }

  function drawList() {
    const items = [...all("chat").values()].sort((a, b) => order(a) - order(b) || a.name.localeCompare(b.name));
    keyed(list, items, (c) => c.id, (c) => {
      const messages = messagesOf(c.id);
      const last = messages.at(-1);
      const here = shown.has(c.id);
      const unread = here ? 0 : messages.filter((m) => m.bot && m.n > (seen.get(c.id) || 0)).length;
      const platform = platforms[c.platform] || c.platform;
      const words = typing(c) ? "types …" : last ? `${last.bot ? "bot" : last.name}: ${last.deleted ? "deleted" : last.text || last.note || "a file"}`.slice(0, 120) : c.type === "dm" ? "direct messages" : `${c.users.length} people`;
      return [JSON.stringify([c.name, platform, words, unread, here]), () => h("li", {},
        h("button", { type: "button", class: here ? "chat-item here" : "chat-item", "aria-current": here ? "true" : null, data: { chat: c.id }, onclick: () => pick(c.id) },
          h("span", { class: `badge ${c.platform}`, "aria-hidden": "true" }, platform[0]),
          h("span", { class: "chat-text" },
            h("span", { class: "chat-name" }, c.name, h("span", { class: "unseen" }, ` on ${platform}, `)),
            h("span", { class: "chat-last" }, visible(words))),
          unread ? h("span", { class: "unread" }, unread, h("span", { class: "unseen" }, " new")) : null))];
    });
  }

  function show() {
    const known = [...all("chat").keys()];
    const want = [...open.filter((id) => known.includes(id)), ...known.filter((id) => !open.includes(id))].slice(0, columns);
    for (const [id, pane] of shown) {
      if (!want.includes(id)) {
        pane.el.remove();
        shown.delete(id);
      }
    }
    for (const id of want.toSorted((a, b) => known.indexOf(a) - known.indexOf(b))) {
      if (!shown.has(id)) shown.set(id, pane(id, go, () => root.firstChild.classList.remove("one")));
      stage.append(shown.get(id).el);
    }
    stage.style.setProperty("--columns", Math.max(1, want.length));
    for (const p of shown.values()) p.update();
    drawList();
  }

  sortMessages();
  if (open.length) root.firstChild.classList.add("one");
  show();
  const tick = setInterval(() => {
    for (const p of shown.values()) p.typing();
  }, 500);
  const stop = watch(["chat", "message", "page"], (changed) => {
    if (changed.has("message")) sortMessages();
    if (changed.has("chat")) show();
    else {
      for (const p of shown.values()) p.update();
      drawList();
    }
  });

  async function newChat() {
    const form = await dialog("New chat", [
      field("Platform", h("select", { name: "platform" }, Object.entries(platforms).map(([id, name]) => h("option", { value: id }, name)))),
      field("Kind", h("select", { name: "type" }, h("option", { value: "group" }, "a group or channel"), h("option", { value: "dm" }, "direct messages"))),
      field("Name", h("input", { name: "name", required: true, maxlength: 80 })),
      field("People, separated by commas", h("input", { name: "users", value: "Ann, Ben" })),
    ], { ok: "Make it" });
    if (!form) return;
    const data = new FormData(form);
    try {
      const made = await act("chat", {
        platform: data.get("platform"), type: data.get("type"), name: data.get("name"),
        users: data.get("users").split(",").map((name) => ({ name: name.trim() })).filter((u) => u.name),
      });
      pick(made.id);
    } catch (err) {
      toast(err.message, true);
    }
  }

  return {
    stop() {
      stop();
      clearInterval(tick);
    },
    keys: {
      n: () => $("textarea", stage)?.focus(),
      "[": () => step(-1),
      "]": () => step(1),
      s: () => shown.values().next().value?.halt(),
    },
  };

  function step(by) {
    const items = [...list.querySelectorAll("[data-chat]")].map((el) => el.dataset.chat);
    const at = items.indexOf([...shown.keys()][0]);
    if (items.length) pick(items[(at + by + items.length) % items.length], false);
  }
}

const order = (c) => Object.keys(platforms).indexOf(c.platform) * 2 + (c.type === "dm" ? 1 : 0);
const typing = (c) => c && c.typing > Date.now();
const field = (label, input) => h("label", { class: "field" }, h("span", {}, label), input);

// pane is one chat: its messages, who types, and where one writes.
function pane(id, go, back) {
  const d = draft(id);
  const name = h("h2", {});
  const topic = h("span", { class: "muted" });
  const feed = h("div", { class: "messages", tabindex: 0, role: "region", "aria-label": "Messages" });
  const list = new Windowed(feed, (m) => bubble(m, id, { go, reply, edit }), { follow: true, guess: 72, label: "Messages" });
  const types = h("div", { class: "typing", "aria-live": "polite" });
  const note = h("div", { class: "composer-note" });
  const user = h("select", { "aria-label": "Write as", onchange: () => { d.user = user.value; } });
  const text = h("textarea", { rows: 1, "aria-label": "Message", placeholder: "Write a message" });
  text.value = d.text;
  const file = h("input", { type: "file", multiple: true, class: "unseen", tabindex: -1, "aria-hidden": "true", onchange: attach });
  const form = h("form", { class: "composer", onsubmit: (e) => { e.preventDefault(); send(); } },
    note,
    h("div", { class: "row" }, user, h("div", { class: "grow" }),
      h("button", { type: "button", class: "quiet", onclick: () => file.click(), "aria-label": "Attach files" }, "Attach"), file,
      h("button", { type: "button", class: "quiet", onclick: command }, "Command"),
      h("button", { type: "button", class: "quiet only-discord", onclick: formDialog }, "Form"),
      h("button", { type: "button", class: "quiet", onclick: halt }, "Stop")),
    h("div", { class: "row" }, text, h("button", { type: "submit", class: "main" }, "Send")));
  const el = h("section", { class: "pane", "aria-label": "Chat" },
    h("header", { class: "pane-head" }, h("button", { type: "button", class: "quiet back", onclick: back, "aria-label": "All chats" }, "‹"), h("div", { class: "grow" }, name, topic)),
    feed, types, may("say") && form);
  let last = 0;

  text.addEventListener("input", () => {
    if (text.value === "\n") text.value = "";
    d.text = text.value;
    grow();
  });
  text.addEventListener("keydown", (e) => {
    if (e.key === "Enter" && !e.shiftKey && !e.isComposing) {
      e.preventDefault();
      send();
    } else if (e.key === "Escape") {
      d.reply = d.edit = d.thread = undefined;
      showNote();
    }
  });
  feed.addEventListener("dragover", (e) => e.preventDefault());
  feed.addEventListener("drop", (e) => {
    e.preventDefault();
    attachAll(e.dataTransfer.files);
  });
  const grow = () => {
    text.style.height = "auto";
    text.style.height = `${Math.min(160, text.scrollHeight + 2)}px`;
  };

  function update() {
    const c = one("chat", id);
    if (!c) return;
    put(name, h("span", { class: `badge ${c.platform}`, "aria-hidden": "true" }, (platforms[c.platform] || c.platform)[0]), c.name,
      h("span", { class: "muted small" }, ` ${platforms[c.platform] || c.platform}`));
    const parent = c.parent && one("chat", c.parent);
    topic.textContent = c.type === "thread" ? `thread in ${parent?.name || "a channel"}` : c.topic || (c.type === "dm" ? "direct messages" : c.users.map((u) => u.name).join(", "));
    el.setAttribute("aria-label", `${c.name} on ${platforms[c.platform] || c.platform}`);
    feed.setAttribute("aria-label", `Messages of ${c.name}`);
    el.dataset.platform = c.platform;
    el.dataset.chat = id;
    if (user.options.length !== c.users.length) {
      put(user, c.users.map((u) => h("option", { value: u.id }, `as ${u.name}`)));
      user.value = d.user || c.users[0]?.id;
    }
    const messages = messagesOf(id);
    const newest = messages.at(-1);
    if (newest && newest.n > last && last && newest.bot) hush(`${c.name}: ${newest.text || newest.note || "a file"}`);
    last = newest?.n || last;
    seen.set(id, newest?.n || 0);
    list.set(messages);
    showTyping();
    showNote();
  }

  function showTyping() {
    const c = one("chat", id);
    const words = typing(c) ? `dormouse ${c.status || "is typing"} …` : "";
    if (types.textContent !== words) types.textContent = words;
    types.classList.toggle("on", words !== "");
  }

  function showNote() {
    const parts = [];
    const drop = (what, clear) => h("button", { type: "button", class: "quiet", "aria-label": `No ${what}`, onclick: () => { clear(); showNote(); } }, "×");
    if (d.edit) parts.push(h("span", { class: "chip" }, "edits a message", drop("edit", () => { d.edit = undefined; text.value = d.text = ""; })));
    if (d.reply) parts.push(h("span", { class: "chip" }, `replies to ${one("message", d.reply)?.name || "a message"}`, drop("reply", () => { d.reply = undefined; })));
    if (d.thread) parts.push(h("span", { class: "chip" }, "in a thread", drop("thread", () => { d.thread = undefined; })));
    d.files.forEach((f, i) => parts.push(h("span", { class: "chip" }, `${f.name} (${size(f.size)})`, drop("file", () => d.files.splice(i, 1)))));
    put(note, parts);
  }

  function reply(m, thread) {
    d.edit = undefined;
    if (thread) d.thread = m.thread || m.mid;
    else d.reply = m.id;
    showNote();
    text.focus();
  }

  function edit(m) {
    d.edit = m.id;
    d.reply = undefined;
    text.value = d.text = m.text;
    showNote();
    grow();
    text.focus();
  }

  async function send() {
    const said = text.value;
    if (!said.trim() && !d.files.length) return;
    const body = d.edit ? { message: d.edit, text: said } : { chat: id, user: user.value, text: said, reply: d.reply, thread: d.thread, files: d.files };
    const name = d.edit ? "edit" : "say";
    const files = d.files;
    text.value = d.text = "";
    d.reply = d.edit = undefined;
    d.files = [];
    showNote();
    grow();
    list.atEnd = true;
    try {
      await act(name, body);
    } catch (err) {
      text.value = d.text = said;
      d.files = files;
      showNote();
      toast(err.message, true);
    }
  }

  async function attach() {
    await attachAll(file.files);
    file.value = "";
  }

  async function attachAll(files) {
    for (const f of files) {
      try {
        const kept = await upload(f);
        d.files.push(kept);
        showNote();
      } catch (err) {
        toast(`${f.name}: ${err.message}`, true);
      }
    }
  }

  async function halt() {
    try {
      await act("say", { chat: id, user: user.value, text: "/stop", thread: d.thread });
    } catch (err) {
      toast(err.message, true);
    }
  }

  async function command() {
    const c = one("chat", id);
    const known = c.platform === "discord" ? about().commands || [] : [];
    const name = h("input", { name: "name", required: true, pattern: "/?[^\\s/]+", list: "commands", value: known[0] ? `/${known[0].name}` : "/status" });
    const options = h("div", { class: "stack" });
    const add = (key = "", value = "", hint = "") => options.append(h("div", { class: "row" },
      h("input", { "aria-label": "option", placeholder: "option", value: key, class: "o-name" }),
      h("input", { "aria-label": `value of ${key || "the option"}`, placeholder: hint || "value", value, class: "o-value grow" })));
    const fit = () => {
      const found = known.find((k) => `/${k.name}` === name.value);
      options.replaceChildren();
      for (const o of found?.options || []) add(o.name, "", o.description);
      if (!options.children.length) add();
    };
    name.addEventListener("change", fit);
    fit();
    const form = await dialog(`A command in ${c.name}`, [
      field("Command", name), h("datalist", { id: "commands" }, known.map((k) => h("option", { value: `/${k.name}` }, k.description))),
      options, h("button", { type: "button", class: "quiet", onclick: () => add() }, "Another option"),
      c.platform === "discord" && known.length === 0 && h("p", { class: "muted small" }, "DORMOUSE_COMMANDS declares commands; without it any name will do here."),
    ], { ok: "Call it" });
    if (!form) return;
    const list = [...options.children].map((row) => ({ name: $(".o-name", row).value, value: $(".o-value", row).value }));
    await act("command", { chat: id, user: user.value, name: name.value, options: list }).catch((err) => toast(err.message, true));
  }

  async function formDialog() {
    const fields = h("div", { class: "stack" });
    const add = (key = "", value = "") => fields.append(h("div", { class: "row" },
      h("input", { "aria-label": "field", placeholder: "field", value: key, class: "o-name" }),
      h("textarea", { "aria-label": `value of ${key || "the field"}`, rows: 1, class: "o-value grow" }, value)));
    add("what", "It broke");
    add("where", "in production");
    const formID = h("input", { name: "id", required: true, value: "report" });
    const form = await dialog("Send a form in", [field("Form (custom_id)", formID), fields,
      h("button", { type: "button", class: "quiet", onclick: () => add() }, "Another field")], { ok: "Send it in" });
    if (!form) return;
    const list = [...fields.children].map((row) => ({ name: $(".o-name", row).value, value: $(".o-value", row).value }));
    await act("form", { chat: id, user: user.value, id: formID.value, fields: list }).catch((err) => toast(err.message, true));
  }

  return { el, update, typing: showTyping, halt };
}

// bubble is one message.
function bubble(m, chat, to) {
  const c = one("chat", chat);
  const tools = [];
  const tool = (label, does, name = label) => tools.push(h("button", { type: "button", class: "quiet", "aria-label": `${name}: ${short(m)}`, onclick: does }, label));
  if (may("say") && !m.deleted) {
    tool("Reply", () => to.reply(m));
    if (c?.platform === "slack") tool("Thread", () => to.reply(m, true), "Reply in the thread");
    if (!m.bot && m.text && !m.note) tool("Edit", () => to.edit(m));
    if (!m.bot) tool("Delete", async () => {
      if (await sure("Delete this message?", "The contract has no event for that: the gateway is not told.", "Delete it")) await act("delete", { message: m.id }).catch((err) => toast(err.message, true));
    });
  }
  if (m.key) tool("Way", () => to.go(`messages/${m.key}`), "The way of this message");
  const edge = m.bot ? "bubble bot" : "bubble";
  return h("article", { class: m.deleted ? `${edge} deleted` : edge, tabindex: -1, data: { message: m.id }, "aria-label": `${m.name}: ${short(m)}` },
    m.reply && h("div", { class: "quote" }, h("b", {}, m.reply.name || "a message"), " ", m.reply.text || ""),
    m.thread && h("div", { class: "muted small" }, "in the thread of ", h("i", {}, one("message", `${chat}/${m.thread}`)?.text?.slice(0, 60) || "a message")),
    h("div", { class: "meta" }, h("b", {}, m.name), m.bot && h("span", { class: "tag" }, "bot"), time(m.at),
      m.edits ? h("span", { class: "muted" }, m.edits === 1 ? "edited" : `edited ${m.edits} times`) : null,
      m.of ? h("span", { class: "tag" }, `part ${m.part} of ${m.of}`) : null,
      m.progress && h("span", { class: "tag" }, "progress")),
    m.note && h("div", { class: "muted note" }, m.note),
    m.deleted ? h("p", { class: "muted" }, "deleted") : h("div", { class: "text" }, markup(m.text || "", c?.platform)),
    !m.deleted && (m.files || []).map(attachment),
    !m.deleted && m.buttons && h("div", { class: "buttons", role: "group", "aria-label": "Answers" }, m.buttons.map((b) => h("button", {
      type: "button", class: `press ${/^(danger|primary|success)$/.test(b.style) ? b.style : ""}`, "aria-pressed": m.pressed === b.id ? "true" : "false", disabled: !may("press"),
      onclick: async () => {
        const who = document.querySelector(`[data-chat="${CSS.escape(chat)}"] .composer select`)?.value;
        await act("press", { message: m.id, option: b.id, user: who }).catch((err) => toast(err.message, true));
      },
    }, b.label))),
    m.pressed_by && h("div", { class: "muted small" }, `pressed by ${m.pressed_by}`),
    h("div", { class: "foot" },
      m.reactions?.length ? h("span", { class: "reactions", "aria-label": `reactions: ${m.reactions.join(" ")}` }, m.reactions.map((r) => h("span", { class: "reaction" }, emoji(r)))) : null,
      !m.bot && m.state && h("span", { class: `sent s-${m.state.replace(/ /g, "-")}` }, states[m.state] || m.state),
      h("span", { class: "bubble-tools" }, tools)));
}

const named = { eyes: "👀", white_check_mark: "✅", x: "❌", "+1": "👍", thumbsup: "👍", "-1": "👎", thumbsdown: "👎", heart: "❤️" };
const emoji = (r) => named[r] || r;
const short = (m) => (m.text || m.note || "a file").replace(/\s+/g, " ").slice(0, 60);

function attachment(f) {
  const name = f.name || f.kind || "file";
  if (!f.file) return h("div", { class: "attachment" }, /^https?:\/\//i.test(f.url || "") ? h("a", { href: f.url, target: "_blank", rel: "noopener noreferrer nofollow" }, `${name}: ${f.url}`) : name);
  const url = `/api/file/${encodeURIComponent(f.file)}`;
  const picture = /^image\/(png|jpeg|gif|webp)$/.test(f.mime || "") || (f.kind === "image" && /\.(png|jpe?g|gif|webp)$/i.test(name));
  return h("div", { class: "attachment" },
    picture && h("img", { src: url, alt: name, loading: "lazy" }),
    h("a", { href: url, download: name }, name), f.size ? h("span", { class: "muted" }, ` ${size(f.size)}`) : null);
}
