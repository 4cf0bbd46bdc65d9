// The example: who is here (presence), and chat over data channels. What the SDK needs is in `enter`; the rest is a page.

import { type GatewayState, Gateway, type Papers, type Path, type PeerChannel, Peers, type PeerView } from "../dist/index.js";
import { type Line, show, type Talk, View } from "./view.js";

const NAMES = ["Ada", "Bela", "Cleo", "Dario", "Elif", "Finn", "Gita", "Hugo", "Ines", "Jonas", "Kaya", "Lior", "Mina", "Noor"];

/** What a backend of yours would do: it knows who is signed in, and asks the API for a ticket and a proof. */
async function papers(peerId: string): Promise<Papers> {
  const response = await fetch("papers", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ peer_id: peerId }),
  });
  if (!response.ok) {
    const problem = (await response.json().catch(() => ({}))) as { title?: string; detail?: string };
    throw new Error(problem.detail ?? problem.title ?? `the server answered ${response.status}`);
  }
  return (await response.json()) as Papers;
}

const view = new View();
const people = new Map<string, PeerView>();
const talks = new Map<string, Talk>();
let chosen: string | undefined;

function draw(own: string): void {
  const others = [...people.values()].filter(({ peer_id: id }) => id !== own);
  // Who has left stays as long as there is a conversation to read.
  const gone = [...talks.keys()].filter((id) => !people.has(id));
  const listed = [...others.map(({ peer_id, status }) => ({ id: peer_id, status })), ...gone.map((id) => ({ id, status: "gone" }))];
  listed.sort((one, other) => one.id.localeCompare(other.id));
  view.people(own, listed, talks, chosen);
  if (chosen !== undefined) {
    view.conversation(chosen, talks.get(chosen), people.has(chosen));
  }
}

function enter(peerId: string): void {
  // `?gateway=127.0.0.1:8081` goes there first, and here when that one is lost.
  const hosts = [...new URLSearchParams(location.search).getAll("gateway"), location.host];
  const url = hosts.map((host) => `${location.protocol === "https:" ? "wss" : "ws"}://${host}/v1/ws`);
  const gateway = new Gateway({ url, peerId, papers: () => papers(peerId) });
  const peers = new Peers(gateway);

  const say = (talk: Talk, line: Line): void => {
    talk.lines.push({ ...line, at: new Date() });
    draw(peerId);
  };

  const follow = (channel: PeerChannel): void => {
    const { peerId: other } = channel;
    const talk = talks.get(other) ?? { state: "connecting", lines: [], unread: 0 };
    talks.set(other, talk);
    talk.channel = channel;
    talk.state = channel.state;
    delete talk.problem;
    chosen ??= other;
    channel.on("state", (state) => {
      if (talk.channel === channel) {
        talk.state = state;
        draw(peerId);
      }
    });
    channel.on("path", (path: Path) => {
      talk.path = path;
      draw(peerId);
    });
    channel.on("message", (message) => {
      talk.unread += chosen === other ? 0 : 1;
      say(talk, { from: "them", text: typeof message === "string" ? message : new TextDecoder().decode(message) });
    });
    channel.on("closed", ({ message }) => {
      if (talk.channel === channel) {
        delete talk.path;
        talk.problem = message;
        say(talk, { from: "note", text: message });
      }
    });
    draw(peerId);
  };

  const choose = (other: string): void => {
    chosen = other;
    const talk = talks.get(other);
    if (talk !== undefined) {
      talk.unread = 0;
    }
    if (talk === undefined || (talk.state === "closed" && people.has(other))) {
      follow(peers.channel(other));
    }
    draw(peerId);
    view.focus();
  };

  const list = async (): Promise<void> => {
    const found = await gateway.everybody();
    people.clear();
    for (const peer of found) {
      people.set(peer.peer_id, peer);
    }
    draw(peerId);
  };

  view.on({
    choose,
    write: (text) => {
      const talk = chosen === undefined ? undefined : talks.get(chosen);
      talk?.channel?.send(text).then(
        () => say(talk, { from: "me", text }),
        (error: unknown) => say(talk, { from: "note", text: `not sent: ${show(error)}` }),
      );
    },
  });
  peers.on("channel", follow);
  gateway.on("presence", (peer) => {
    if (peer.status === "offline") {
      people.delete(peer.peer_id);
    } else {
      people.set(peer.peer_id, peer);
    }
    draw(peerId);
  });
  gateway.on("gap", () => void list().catch(() => {}));
  gateway.on("state", (state: GatewayState) => {
    view.connection(state, new URL(gateway.url).host);
    if (state.name === "open" && state.resumed === "first") {
      void list().catch(() => {});
    }
  });
  document.addEventListener("visibilitychange", () => {
    gateway.setStatus(document.hidden ? "away" : "online").catch(() => {});
  });
  addEventListener("pagehide", () => {
    peers.close();
    gateway.close();
  });

  view.enter();
  draw(peerId);
  // The state has told it.
  gateway.open().catch(() => {});
}

/** A name as ids may have it, and four letters that tell this tab from others. */
function idOf(name: string): string {
  const plain = name.normalize("NFKD").replace(/[^A-Za-z0-9]+/g, "") || "Guest";
  const bytes = crypto.getRandomValues(new Uint8Array(4));
  return `${plain}-${[...bytes].map((byte) => "abcdefghijkmnpqrstuvwxyz23456789"[byte % 32]).join("")}`;
}

view.welcome(NAMES[Math.floor(Math.random() * NAMES.length)] ?? "Ada", (name) => enter(idOf(name)));
