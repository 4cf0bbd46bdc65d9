// One exchange: what was asked, what was answered, how long it took, and sending it again.

import { body, decoded, hex } from "./bodies.js";
import { $, api, bytes, clock, copy, h, save, status, time, toast } from "./elements.js";

const REDACTED = "[redacted]";
const TABS = ["Request", "Response", "Messages", "Timing"];

let shown = null;
let tab = "Response";
let round = 0;
let editing = false;
let onChosen = () => {};
let tunnels = [];

/** Calls `choose` with an exchange's id when a link or a replay leads to it. */
export function onChoose(choose) {
  onChosen = choose;
}

export function setTunnels(list) {
  tunnels = list;
}

export const current = () => shown?.id ?? null;

export function close() {
  shown = null;
  editing = false;
  $("detail").hidden = true;
}

/** Shows an exchange, or shows it anew. An editor that is open stays. */
export async function show(id, isRefresh = false) {
  if (isRefresh && editing) return;
  const mine = ++round;
  editing = false;
  try {
    const exchange = await (await api(`/api/exchanges/${id}`)).json();
    if (mine !== round) return;
    shown = exchange;
    if (!tabs().includes(tab)) tab = "Response";
    if (!isRefresh && exchange.message_list.length && exchange.kind !== "http") tab = "Messages";
    await render(mine);
  } catch (error) {
    if (mine === round) {
      close();
      toast(error.message);
    }
  }
}

export function pickTab(number) {
  const name = tabs()[number - 1];
  if (!shown || editing || !name) return;
  tab = name;
  render(++round);
}

export async function replay(edit) {
  if (!shown) return;
  if (canNotReplay()) return toast(canNotReplay());
  try {
    const answer = await api(`/api/exchanges/${shown.id}/replay`, { method: "POST", body: edit ? JSON.stringify(edit) : undefined });
    const { id } = await answer.json();
    toast("Sent again");
    editing = false;
    tab = "Response";
    onChosen(id);
  } catch (error) {
    if (!edit) return toast(error.message);
    throw error;
  }
}

export async function edit() {
  if (!shown) return;
  if (canNotReplay()) return toast(canNotReplay());
  editing = true;
  const content = new Uint8Array(await (await api(`/api/exchanges/${shown.id}/body/request?form=raw`)).arrayBuffer());
  $("detail").replaceChildren(head(false), editor(content));
  $("detail").querySelector("textarea, input").focus();
}

const canNotReplay = () => (["http", "sse"].includes(shown.kind) ? null : "A connection that switched protocols can't be sent again.");
const tabs = () => TABS.filter((name) => name !== "Messages" || (shown && shown.kind !== "http"));

async function render(mine) {
  const view = shown;
  const panes = { Request: () => side("request"), Response: () => side("response"), Messages: messages, Timing: timing };
  const pane = h("div", { className: "pane", role: "tabpanel" }, await panes[tab]());
  if (mine !== round || view !== shown) return;
  const detail = $("detail");
  const scrolled = detail.dataset.id === String(view.id) ? detail.scrollTop : 0;
  detail.dataset.id = view.id;
  detail.replaceChildren(head(true), pane);
  detail.hidden = false;
  detail.scrollTop = scrolled;
}

function head(hasTabs) {
  const took = shown.took_ms !== null ? time(shown.took_ms) : "under way";
  const original = shown.replay_of && h("a", { href: "#", onclick: (event) => { event.preventDefault(); onChosen(shown.replay_of); } }, `replay of #${shown.replay_of}`);
  const pick = (name) => () => { tab = name; render(++round); };
  const buttons = tabs().map((name) => h("button", { role: "tab", "aria-selected": String(name === tab), onclick: pick(name) }, label(name)));
  return h("div", { className: "head" },
    h("div", { className: "title" }, status(shown), h("span", { className: "mono" }, `${shown.method} ${shown.path}`),
      h("button", { className: "small", "aria-label": "Close", onclick: close }, "✕")),
    h("div", { className: "facts" }, h("span", null, `#${shown.id}`), h("span", null, clock(shown.began_ms)), h("span", null, took), h("span", null, shown.host), original),
    h("div", { className: "actions" },
      h("button", { className: "primary", title: "r", onclick: () => replay() }, "Replay"),
      h("button", { title: "e", onclick: edit }, "Edit and replay"),
      h("button", { onclick: () => copyAsCurl() }, "Copy as curl"),
      h("button", { onclick: () => save(`/api/exchanges/${shown.id}/har`, `tunnel-${shown.id}.har`) }, "HAR")),
    hasTabs && h("div", { className: "tabs", role: "tablist" }, buttons));
}

const label = (name) => (name === "Messages" ? `${shown.kind === "sse" ? "Events" : "Messages"} ${shown.messages}` : name);

async function side(name) {
  const part = shown[name];
  const notes = shown.notes.map((note) => h("p", { className: "notice" }, note));
  if (name === "response" && shown.status === null) return [notes, h("p", { className: "nothing" }, "No answer yet.")];
  const list = [headers("Headers", part.headers)];
  if (part.trailers?.length) list.push(headers("Trailers", part.trailers));
  const isSwitched = shown.status === 101;
  return [notes, isSwitched ? null : await body(shown, name), list];
}

function headers(title, list) {
  const lines = list.flatMap(([name, value]) => [
    h("dt", null, name), h("dd", value.includes(REDACTED) ? { className: "hidden-secret", title: "Hidden; “Show secrets” shows it" } : null, value),
  ]);
  return [h("h3", null, title), lines.length ? h("dl", { className: "headers mono" }, lines) : h("p", { className: "nothing" }, "There are none.")];
}

function messages() {
  const list = shown.message_list.toReversed().map((message) => {
    const line = h("div", { className: "mono" }, message.name && h("span", { className: "tag" }, message.name), text(message));
    const way = message.from_public ? h("span", { className: "up", title: "from the public" }, "↑") : h("span", { className: "down", title: "from your program" }, "↓");
    return h("li", null, way, h("span", { className: "after" }, time(message.after_ms)), line,
      h("span", { className: "size" }, `${message.kind} · ${bytes(message.bytes)}${message.is_cut ? ", cut" : ""}`));
  });
  const skipped = shown.messages_skipped > 0 && h("p", { className: "notice" }, `${shown.messages_skipped} older ones are not kept.`);
  if (!list.length) return h("p", { className: "nothing" }, shown.took_ms === null ? "None yet. They appear here as they pass." : "There were none.");
  return [skipped, h("ol", { className: "messages" }, list)];
}

function text(message) {
  if (message.kind === "close") return `${message.code ?? ""} ${message.payload.text ?? ""}`;
  if (message.payload.text !== undefined) return message.payload.text;
  const content = Uint8Array.from(atob(message.payload.base64), (letter) => letter.charCodeAt(0));
  return hex(content.subarray(0, 256));
}

function timing() {
  const [wait, whole] = [shown.first_byte_ms ?? 0, shown.took_ms ?? shown.first_byte_ms ?? 0];
  const part = (name, share) => { const piece = h("i", { className: name }); piece.style.width = `${Math.max(share * 100, 0.5)}%`; return piece; };
  const line = (name, value) => [h("dt", null, name), h("dd", null, value)];
  return [
    h("h3", null, "Where the time went"),
    h("div", { className: "bar" }, whole > 0 && [part("wait", wait / whole), part("receive", 1 - wait / whole)]),
    h("dl", { className: "headers" },
      line("Waiting for your program", shown.first_byte_ms === null ? "still waiting" : time(wait)),
      line("Receiving its answer", shown.took_ms === null ? "under way" : time(whole - wait)),
      line("In all", shown.took_ms === null ? "under way" : time(whole)),
      line("Began", new Date(shown.began_ms).toISOString()),
      line("Sent", `${bytes(shown.request_bytes)} up, ${bytes(shown.response_bytes)} down`)),
  ];
}

function editor(content) {
  const plain = decoded(content);
  const method = h("input", { type: "text", value: shown.method, "aria-label": "Method" });
  const path = h("input", { type: "text", value: shown.path, className: "mono", "aria-label": "Path" });
  const lines = shown.request.headers.map(([name, value]) => `${name}: ${value}`).join("\n");
  const head = h("textarea", { value: lines, rows: Math.min(14, shown.request.headers.length + 1), spellcheck: false });
  const text = h("textarea", { value: plain ?? "", rows: 12, spellcheck: false, disabled: plain === null });
  const error = h("p", { className: "error", role: "alert" });
  const send = async (event) => {
    event?.preventDefault();
    const headers = head.value.split("\n").filter((line) => line.trim()).map((line) => {
      const colon = line.indexOf(":");
      return colon < 0 ? [line.trim(), ""] : [line.slice(0, colon).trim(), line.slice(colon + 1).trim()];
    });
    const change = { method: method.value.trim(), path: path.value.trim(), headers };
    if (plain !== null && (text.value !== plain || shown.request.body.is_whole)) change.body = text.value;
    try {
      await replay(change);
    } catch (problem) {
      error.textContent = problem.message;
    }
  };
  const keys = (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) send(event); };
  const stop = () => { editing = false; render(++round); };
  return h("form", { className: "pane editor", onsubmit: send, onkeydown: keys },
    h("label", null, "Method and path"), h("div", { className: "line" }, method, path),
    h("label", null, `Headers. ${REDACTED} stands for the value as it was.`), head,
    h("label", null, plain === null ? "Body: not text; it is sent as it was." : "Body"), text, error,
    h("div", { className: "actions" }, h("button", { className: "primary", title: "Ctrl+Enter" }, "Send to your program"), h("button", { type: "button", onclick: stop }, "Cancel")));
}

async function copyAsCurl() {
  const quote = (value) => `'${value.replaceAll("'", "'\\''")}'`;
  const own = /^(content-length|x-forwarded-|forwarded$|x-real-ip$|x-request-id$)/;
  const base = tunnels[shown.tunnel]?.urls[0]?.replace(/\/$/, "") ?? `http://${shown.host}`;
  const parts = [`curl -X ${shown.method} ${quote(base + shown.path)}`];
  for (const [name, value] of shown.request.headers) {
    if (!own.test(name)) parts.push(`-H ${quote(`${name}: ${value}`)}`);
  }
  if (shown.request_bytes > 0) {
    const content = new Uint8Array(await (await api(`/api/exchanges/${shown.id}/body/request?form=raw`)).arrayBuffer());
    const plain = decoded(content);
    parts.push(plain === null ? `--data-binary @request-${shown.id}.bin` : `--data-raw ${quote(plain)}`);
  }
  copy(parts.join(" \\\n  "));
}
