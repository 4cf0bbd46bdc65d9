// The list of exchanges, live, and the keyboard.

import * as detail from "./detail.js";
import { $, api, bytes, clock, copy, h, save, showSecrets, showsSecrets, status, time, toast } from "./elements.js";

const exchanges = new Map();
const rows = new Map();
const filter = { path: "", method: "", status: "" };
let state = { tunnels: [] };
let fresh = new Set();
let drawing = false;

function matches(exchange) {
  const code = String(exchange.status ?? "");
  return (!filter.path || exchange.path.includes(filter.path))
    && (!filter.method || exchange.method === filter.method)
    && (!filter.status || (code !== "" && code[0] === filter.status[0]));
}

const listed = () => [...exchanges.values()].filter(matches).sort((one, other) => other.id - one.id);

function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    const list = listed();
    $("rows").replaceChildren(...list.map(row));
    $("list").querySelector("table").hidden = list.length === 0;
    empty(list.length);
    document.title = exchanges.size ? `(${exchanges.size}) Requests · synapse tunnel` : "Requests · synapse tunnel";
    fresh = new Set();
  });
}

function row(exchange) {
  const known = rows.get(exchange.id);
  const isChosen = detail.current() === exchange.id;
  if (known?.exchange === exchange && !fresh.has(exchange.id)) {
    known.element.setAttribute("aria-selected", isChosen);
    known.element.classList.remove("new");
    return known.element;
  }
  const tags = [
    exchange.replay_of && h("span", { className: "tag replay", title: `Replay of #${exchange.replay_of}` }, "replay"),
    exchange.kind !== "http" && h("span", { className: "tag" }, exchange.messages ? `${exchange.kind} · ${exchange.messages}` : exchange.kind),
    exchange.notes.length > 0 && h("span", { className: "tag note", title: exchange.notes.join("\n") }, "note"),
    state.tunnels.length > 1 && h("span", { className: "tag" }, state.tunnels[exchange.tunnel]?.origin ?? ""),
  ];
  const element = h("tr", { "aria-selected": String(isChosen), className: fresh.has(exchange.id) ? "new" : "", onclick: () => choose(exchange.id) },
    h("td", null, status(exchange)), h("td", null, exchange.method), h("td", { className: "path", title: exchange.path }, exchange.path, tags),
    h("td", { className: "number" }, exchange.status ? bytes(exchange.response_bytes) : ""),
    h("td", { className: "number" }, exchange.took_ms !== null ? time(exchange.took_ms) : "…"),
    h("td", { className: "number" }, clock(exchange.began_ms)));
  rows.set(exchange.id, { exchange, element });
  return element;
}

function empty(count) {
  const box = $("empty");
  box.hidden = count > 0;
  if (count > 0) return;
  if (exchanges.size > 0) {
    const reset = () => { Object.assign(filter, { path: "", method: "", status: "" }); $("path").value = ""; $("method").value = ""; pressStatus(""); draw(); };
    box.replaceChildren(h("h2", null, "Nothing matches"), h("p", null, `${exchanges.size} requests are hidden by the filters.`), h("button", { onclick: reset }, "Show all"));
    return;
  }
  const url = state.tunnels.find((tunnel) => tunnel.urls.length)?.urls[0];
  const command = url ? `curl -i ${url}` : "synapse tunnel http 3000";
  box.replaceChildren(
    h("h2", null, "Waiting for the first request"),
    h("p", null, "Open the public address in a browser, give it to a webhook's sender, or try it here. Requests appear as they come."),
    h("div", { className: "try" }, h("code", null, command), h("button", { onclick: () => copy(command) }, "Copy")),
    h("p", null, `The last ${state.max_exchanges ?? 500} requests are kept in this machine's memory, up to ${bytes(state.max_bytes ?? 0)}, and go with the tunnel. Authorization and cookies are hidden until you show them.`));
}

function choose(id) {
  detail.show(id);
  for (const [other, { element }] of rows) element.setAttribute("aria-selected", other === id);
  rows.get(id)?.element.scrollIntoView({ block: "nearest" });
}

function take({ oldest, exchanges: list }) {
  for (const exchange of list) {
    if (!exchanges.has(exchange.id)) fresh.add(exchange.id);
    exchanges.set(exchange.id, exchange);
  }
  for (const id of exchanges.keys()) {
    if (id < oldest) { exchanges.delete(id); rows.delete(id); }
  }
  draw();
}

async function readAll() {
  const [now, all] = await Promise.all([api("/api/state"), api("/api/exchanges")]);
  state = await now.json();
  const list = await all.json();
  exchanges.clear();
  rows.clear();
  take(list);
  fresh = new Set();
  detail.setTunnels(state.tunnels);
  $("tunnels").replaceChildren(...state.tunnels.map(({ urls, origin }) => h("span", { className: "tunnel" },
    urls[0] && h("a", { href: urls[0], target: "_blank", rel: "noreferrer" }, urls[0]),
    urls[0] && h("button", { className: "small", onclick: () => copy(urls[0]) }, "Copy"), h("span", null, `→ ${origin}`))));
  if (detail.current() !== null && !exchanges.has(detail.current())) detail.close();
}

function listen() {
  const source = new EventSource("/api/live");
  const link = $("link");
  source.addEventListener("open", () => { link.textContent = "live"; link.className = "live"; });
  source.addEventListener("error", () => { link.textContent = "the agent is gone"; link.className = ""; });
  source.addEventListener("reset", () => readAll().catch((error) => toast(error.message)));
  source.addEventListener("exchanges", (event) => {
    const news = JSON.parse(event.data);
    // What is told to every page hides secrets; who sees them reads the list anew.
    if (showsSecrets()) readAll().catch((error) => toast(error.message));
    else take(news);
    if (news.exchanges.some(({ id }) => id === detail.current())) detail.show(detail.current(), true);
  });
}

function pressStatus(wanted) {
  for (const button of $("status").children) button.setAttribute("aria-pressed", button.dataset.status === wanted);
}

const query = () => new URLSearchParams(Object.entries(filter).filter(([, value]) => value)).toString();

function controls() {
  $("path").addEventListener("input", (event) => { filter.path = event.target.value; draw(); });
  $("method").addEventListener("change", (event) => { filter.method = event.target.value; draw(); });
  $("status").addEventListener("click", (event) => {
    filter.status = event.target.dataset.status ?? "";
    pressStatus(filter.status);
    draw();
  });
  $("secrets").addEventListener("change", async (event) => {
    showSecrets(event.target.checked);
    $("warning").hidden = !event.target.checked;
    await readAll();
    if (detail.current() !== null) detail.show(detail.current(), true);
  });
  $("export").addEventListener("click", () => save(`/api/exchanges.har?${query()}`, "tunnel.har").catch((error) => toast(error.message)));
  $("clear").addEventListener("click", () => api("/api/exchanges", { method: "DELETE" }).then(detail.close).catch((error) => toast(error.message)));
  $("help").addEventListener("click", () => $("keys").showModal());
}

function step(by) {
  const list = listed();
  const at = list.findIndex(({ id }) => id === detail.current());
  const next = list[Math.min(Math.max(at + by, 0), list.length - 1)];
  if (next) choose(next.id);
}

function keyboard(event) {
  const isTyping = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName) && event.target.type !== "checkbox";
  if (event.key === "Escape") {
    if (isTyping) event.target.blur();
    else { detail.close(); draw(); }
    return;
  }
  if (isTyping || event.ctrlKey || event.metaKey || event.altKey || $("keys").open) return;
  const acts = {
    j: () => step(1), ArrowDown: () => step(1), k: () => step(-1), ArrowUp: () => step(-1),
    "/": () => $("path").focus(), r: () => detail.replay(), e: () => detail.edit(), "?": () => $("keys").showModal(),
    1: () => detail.pickTab(1), 2: () => detail.pickTab(2), 3: () => detail.pickTab(3), 4: () => detail.pickTab(4),
  };
  if (acts[event.key]) {
    event.preventDefault();
    acts[event.key]();
  }
}

detail.onChoose(choose);
controls();
document.addEventListener("keydown", keyboard);
listen();
