// The page: its views, its keys, and what the gateway is doing, always in sight.

import { $, h, hush, money, put, time, toast } from "./dom.js";
import { about, connect, one, watch } from "./store.js";
import { chats } from "./chats.js";
import { life, words } from "./life.js";
import { ways } from "./ways.js";
import { faults } from "./faults.js";
import { books, settings } from "./books.js";

const views = { chats: ["Chats", chats], life: ["Life", life], messages: ["Messages", ways], faults: ["Faults", faults], books: ["Books", books], settings: ["Settings", settings] };
const main = $("#main");
let shown = null;
let at = "";

const go = (where) => { location.hash = `#${where}`; };
const wanted = () => Object.keys(views).filter((name) => !about().deployed || !["chats", "faults"].includes(name));

function route() {
  const [name, id] = decodeURIComponent(location.hash.slice(1) || wanted()[0]).split("/");
  const view = wanted().includes(name) ? name : wanted()[0];
  const moved = view !== at;
  const scroll = moved ? 0 : $(".way-list", main)?.scrollTop;
  at = view;
  shown?.stop();
  main.dataset.view = view;
  shown = views[view][1](main, go, id);
  if (!moved && scroll) {
    const list = $(".way-list", main);
    if (list) list.scrollTop = scroll;
  }
  document.title = `${views[view][0]} – ${about().title || "dormouse"}`;
  nav();
  if (moved) {
    main.scrollTop = 0;
    hush(views[view][0]);
  }
}

function nav() {
  put($("#views"), wanted().map((name, i) => h("li", {}, h("a", { href: `#${name}`, "aria-current": name === at ? "page" : null, "aria-keyshortcuts": i + 1 }, views[name][0], badge(name)))));
}

function badge(name) {
  const b = one("books", "books");
  if (name !== "books" || !b || !(b.dead.length + b.waiting.length)) return null;
  return h("span", { class: b.dead.length ? "count bad" : "count" }, b.dead.length || b.waiting.length, h("span", { class: "unseen" }, b.dead.length ? " dead" : " waiting"));
}

let lastWord = "";
let linked = true;
function state() {
  const now = one("now", "now");
  if (!now) return;
  put($("#state"), h("span", { class: `dot w-${now.word.replace(" ", "-")}`, "aria-hidden": "true" }),
    h("a", { href: "#life", class: "word", title: words[now.word] }, linked ? now.word : "page cut off"),
    now.since ? h("span", { class: "muted wide-only" }, "since ", time(now.since)) : null,
    now.buffered ? h("span", { class: "tag" }, `${now.buffered} buffered`) : null,
    h("span", { class: "muted wide-only cost" }, money(now.cost?.dollars || 0)));
  document.documentElement.dataset.word = now.word;
  if (lastWord && lastWord !== now.word) hush(`The gateway is ${now.word}.`);
  lastWord = now.word;
}

// Keys. Letters can be switched off, for those whose software types them by itself.
const letters = () => localStorage.getItem("dormouse.letters") !== "off";
const listed = [
  ["?", "this list"], ["1 to 6", "the views, in their order"], ["/", "search, in Messages and Settings"], ["j, k", "next and previous message, in Messages"],
  ["r", "replay the message that is shown, under its id"], ["n", "write, in Chats"], ["[ and ]", "previous and next chat"], ["s", "stop the turn of the chat that is shown"],
  ["t", "theme: as the system has it, light, dark"], ["Enter, Shift+Enter", "send; a new line"], ["Escape", "close a dialog; leave the field; no reply, no edit"], ["Tab, Shift+Tab", "from one control to the next"],
];

function help() {
  const box = $("#keys");
  const on = h("input", { type: "checkbox", checked: letters(), onchange: () => localStorage.setItem("dormouse.letters", on.checked ? "on" : "off") });
  put(box, h("h2", { id: "keys-title" }, "Keys"), h("dl", { class: "keys" }, listed.map(([key, what]) => h("div", {}, h("dt", {}, h("kbd", {}, key)), h("dd", {}, what)))),
    h("label", {}, on, " single keys do something"), h("div", { class: "row end" }, h("button", { type: "button", class: "main", onclick: () => box.close() }, "Close")));
  box.showModal();
  $("button", box).focus();
}

const themes = ["auto", "light", "dark"];
function theme(next) {
  const now = next || localStorage.getItem("dormouse.theme") || "auto";
  if (next) localStorage.setItem("dormouse.theme", next);
  document.documentElement.dataset.theme = now;
  $("#theme").textContent = `Theme: ${now}`;
}
const turnTheme = () => theme(themes[(themes.indexOf(document.documentElement.dataset.theme) + 1) % 3]);

document.addEventListener("keydown", (e) => {
  const typing = e.target.closest?.("input:not([type=checkbox],[type=radio]),textarea,select");
  if (e.key === "Escape" && typing && !document.querySelector("dialog[open]")) e.target.blur();
  if (typing || e.ctrlKey || e.metaKey || e.altKey || document.querySelector("dialog[open]") || !letters() && e.key !== "?") return;
  const view = wanted()[+e.key - 1];
  const does = view ? () => go(view) : { "?": help, t: turnTheme }[e.key] || shown?.keys[e.key];
  if (does) {
    e.preventDefault();
    does();
  }
});

$("#help").addEventListener("click", help);
$("#theme").addEventListener("click", turnTheme);
$(".skip").addEventListener("click", (e) => {
  e.preventDefault();
  main.focus();
});
theme();
addEventListener("hashchange", route);
watch(["now"], state);
watch(["books"], nav);
let begun = false;
watch(["page"], () => {
  $("#title").textContent = about().title || "dormouse";
  if (!begun) {
    begun = true;
    route();
  } else nav();
});
connect((up) => {
  if (!up && linked && begun) toast("The page is cut off from its server; it tries again.", true);
  linked = up;
  state();
});
