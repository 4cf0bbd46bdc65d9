// Elements, numbers and calls: what every part of the page needs.

/** The element with this id. */
export const $ = (id) => document.getElementById(id);

/** Makes an element. Properties are set as they are; texts are never read as HTML. */
export function h(name, properties, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties ?? {})) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key.includes("-") || key === "role") element.setAttribute(key, value);
    else element[key] = value;
  }
  element.append(...children.flat(4).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const TOKEN = document.querySelector("meta[name=inspect-token]").content;
let secrets = false;

/** Whether secrets are shown. */
export const showsSecrets = () => secrets;

export function showSecrets(shown) {
  secrets = shown;
}

/** Calls the page's server. Throws an error with its words when it says no. */
export async function api(path, options = {}) {
  const join = path.includes("?") ? "&" : "?";
  const address = secrets && !options.method ? `${path}${join}secrets=shown` : path;
  const answer = await fetch(address, { ...options, headers: { "x-inspect-token": TOKEN, ...options.headers } });
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  throw new Error(problem.error ?? `the page's server answered ${answer.status}`);
}

/** Saves what the server gives under a name. */
export async function save(path, name) {
  const blob = await (await api(path)).blob();
  const link = h("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

let hiding;

/** Says something for a moment. */
export function toast(text) {
  const box = $("toast");
  box.textContent = text;
  box.hidden = false;
  clearTimeout(hiding);
  hiding = setTimeout(() => { box.hidden = true; }, 3_500);
}

export async function copy(text) {
  await navigator.clipboard.writeText(text);
  toast("Copied");
}

export function bytes(count) {
  if (count < 1_000) return `${count} B`;
  for (const [size, unit] of [[2 ** 10, "KiB"], [2 ** 20, "MiB"], [2 ** 30, "GiB"]]) {
    if (count < size * 1_000) return `${(count / size).toFixed(count < size * 10 ? 1 : 0)} ${unit}`;
  }
  return `${(count / 2 ** 40).toFixed(1)} TiB`;
}

export function time(ms) {
  if (ms < 1_000) return `${ms < 10 ? ms.toFixed(1) : ms.toFixed(0)} ms`;
  return ms < 60_000 ? `${(ms / 1_000).toFixed(1)} s` : `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1_000)} s`;
}

export const clock = (ms) => new Date(ms).toLocaleTimeString([], { hour12: false });

/** A status as the list and the detail show it. */
export function status(exchange) {
  const code = exchange.status;
  if (code) return h("span", { className: `status s${Math.floor(code / 100)}` }, String(code));
  return h("span", { className: "status waiting", title: "No answer yet" }, "…");
}
