// The page: draws what it is given, and tells what was clicked.

import type { ChannelState, GatewayState, Path, PeerChannel } from "../dist/index.js";

/** A line of a conversation. */
export interface Line {
  from: "me" | "them" | "note";
  text: string;
  at?: Date;
}

/** A conversation with one peer. */
export interface Talk {
  channel?: PeerChannel;
  state: ChannelState;
  path?: Path;
  problem?: string;
  lines: Line[];
  unread: number;
}

/** Somebody in the list. */
interface Person {
  id: string;
  status: string;
}

export function show(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function find<Kind extends HTMLElement>(id: string): Kind {
  const found = document.getElementById(id);
  if (found === null) {
    throw new Error(`the page has no #${id}`);
  }
  return found as Kind;
}

function make<Tag extends keyof HTMLElementTagNameMap>(tag: Tag, kind: string, text?: string): HTMLElementTagNameMap[Tag] {
  const made = document.createElement(tag);
  made.className = kind;
  if (text !== undefined) {
    made.textContent = text;
  }
  return made;
}

function face(id: string): HTMLElement {
  const made = make("span", "face", id.slice(0, 1).toUpperCase());
  const hue = [...id].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) % 360, 7);
  made.style.backgroundColor = `hsl(${hue} 55% 38%)`;
  made.ariaHidden = "true";
  return made;
}

const [nameOf, tagOf] = [(id: string) => id.split("-")[0] ?? id, (id: string) => id.split("-")[1] ?? ""];

function pathText(talk: Talk): string {
  switch (talk.state) {
    case "connecting":
      return "connecting…";
    case "interrupted":
      return "path lost, looking for another…";
    case "closed":
      return "not connected";
    case "open": {
      const time = talk.path?.roundTripMs;
      return (talk.path?.kind ?? "open") + (time === undefined ? "" : ` · ${time < 1 ? "< 1" : Math.round(time)} ms`);
    }
  }
}

export class View {
  readonly #connection = find("connection");
  readonly #problem = find("problem");
  readonly #people = find("people");
  readonly #lines = find("lines");
  readonly #text = find<HTMLInputElement>("text");
  #choose: (id: string) => void = () => {};

  /** Asks for a name, with a suggestion. */
  welcome(suggestion: string, enter: (name: string) => void): void {
    const input = find<HTMLInputElement>("name");
    input.value = suggestion;
    input.select();
    find<HTMLFormElement>("join").onsubmit = (event) => {
      event.preventDefault();
      enter(input.value);
    };
  }

  enter(): void {
    find("welcome").hidden = true;
    find("room").hidden = false;
  }

  on(told: { choose: (id: string) => void; write: (text: string) => void }): void {
    this.#choose = told.choose;
    find<HTMLFormElement>("write").onsubmit = (event) => {
      event.preventDefault();
      if (this.#text.value.trim() !== "") {
        told.write(this.#text.value);
        this.#text.value = "";
      }
    };
  }

  focus(): void {
    this.#text.focus();
  }

  /** How it stands with the gateway. */
  connection(state: GatewayState, host: string): void {
    this.#connection.dataset["state"] = state.name;
    const seconds = state.name === "waiting" ? Math.max(1, Math.round(state.retryInMs / 1_000)) : 0;
    this.#connection.title = host;
    this.#connection.textContent = {
      idle: "not connected",
      connecting: "connecting…",
      open: host === location.host ? "connected" : `connected to ${host}`,
      waiting: `trying again in ${seconds} s`,
      closed: "disconnected",
    }[state.name];
    if (state.name === "waiting" || state.name === "closed") {
      const hint = state.name === "waiting" ? "Open conversations go on." : "Reload the page to come back.";
      this.#problem.textContent = `No connection to the gateway: ${state.reason}. ${hint}`;
      this.#problem.hidden = false;
    } else if (state.name === "open") {
      this.#problem.hidden = true;
    }
  }

  people(own: string, others: Person[], talks: Map<string, Talk>, chosen: string | undefined): void {
    const item = ({ id, status }: Person, about: string): HTMLElement => {
      const button = make("button", "person");
      const unread = talks.get(id)?.unread ?? 0;
      button.append(face(id), make("span", "name"));
      button.lastElementChild?.append(nameOf(id), make("small", "", about));
      button.disabled = id === own;
      button.dataset["peer"] = id;
      button.dataset["status"] = status;
      button.ariaCurrent = String(id === chosen);
      button.onclick = () => this.#choose(id);
      if (unread > 0) {
        button.append(make("span", "unread", String(unread)));
      }
      const made = document.createElement("li");
      made.append(button);
      return made;
    };
    const listed = others.map((person) => item(person, `${tagOf(person.id)} · ${person.status}`));
    this.#people.replaceChildren(item({ id: own, status: "online" }, `${tagOf(own)} · you`), ...listed);
  }

  conversation(id: string, talk: Talk | undefined, isHere: boolean): void {
    find("nobody").hidden = talk !== undefined;
    find("conversation").hidden = talk === undefined;
    if (talk === undefined) {
      return;
    }
    find("with").textContent = nameOf(id);
    const path = find("path");
    path.dataset["state"] = talk.state;
    path.dataset["kind"] = talk.path?.kind ?? "";
    path.textContent = pathText(talk);
    const again = find<HTMLButtonElement>("again");
    again.hidden = talk.state !== "closed" || !isHere;
    again.onclick = () => this.#choose(id);
    for (const control of find("write").querySelectorAll<HTMLInputElement | HTMLButtonElement>("input, button")) {
      control.disabled = talk.state === "closed";
    }
    this.#draw(id, talk.lines);
  }

  #draw(id: string, lines: Line[]): void {
    const shown = this.#lines.dataset["with"] === id ? this.#lines.childElementCount : 0;
    if (shown === 0) {
      this.#lines.replaceChildren();
    }
    this.#lines.dataset["with"] = id;
    for (const { from, text, at } of lines.slice(shown)) {
      const line = make("li", { me: "mine", them: "theirs", note: "note" }[from], text);
      if (from !== "note" && at !== undefined) {
        line.append(make("time", "", at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })));
      }
      this.#lines.append(line);
    }
    if (lines.length > shown) {
      this.#lines.lastElementChild?.scrollIntoView({ block: "end" });
    }
  }
}
