// Connects a peer and tells what happens to it. Usage: node peer.mjs <gateway ws://…> <token> <peer> <proof>
// Node 22 has WebSocket built in; Node 20 needs --experimental-websocket.
const [gateway, token, peer, proof] = process.argv.slice(2);
const socket = new WebSocket(`${gateway}/v1/ws`, ["synapse.v1"]);
const tell = (text) => console.log(`${peer}: ${text}`);

socket.onmessage = ({ data }) => {
  const frame = JSON.parse(data);
  switch (frame.type) {
    case "hello":
      socket.send(JSON.stringify({ type: "auth", id: "1", token, peer_id: peer, proof }));
      setInterval(() => socket.send(JSON.stringify({ type: "ping", id: "ping" })), frame.heartbeat_ms / 2);
      break;
    case "outcome":
      if (frame.id === "1") tell(frame.outcome === "accepted" ? "connected" : `refused: ${frame.problem?.code}`);
      break;
    case "closing":
      tell(`closing: ${frame.reason}`);
      break;
  }
};
socket.onclose = ({ code }) => {
  tell(`closed (${code})`);
  process.exit();
};
socket.onerror = () => tell("no connection");
