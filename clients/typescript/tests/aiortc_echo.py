"""A peer on aiortc, independent of this project's WebRTC stacks: it answers sessions and sends everything back. With a
second peer's name it dials that one and greets it first.

Usage: python aiortc_echo.py <gateway ws://…/v1/ws> <token> <proof> <peer> [<dial this peer>]
"""

import asyncio
import json
import sys

from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.sdp import candidate_from_sdp
from websockets.asyncio.client import connect


class Peer:
    def __init__(self, socket):
        self.socket = socket
        self.next_id = 0
        self.sessions = {}
        self.waiting = {}

    async def ask(self, **frame):
        self.next_id += 1
        frame["id"] = str(self.next_id)
        outcome = self.waiting[frame["id"]] = asyncio.get_running_loop().create_future()
        await self.socket.send(json.dumps(frame))
        return await outcome

    async def describe(self, session, connection, generation):
        """aiortc gathers first: its description carries every candidate."""
        description = connection.localDescription
        signal = {"type": description.type, "sdp": description.sdp, "generation": generation}
        await self.ask(type="signal", session_id=session, signal=signal)

    def begin(self, session):
        connection = self.sessions[session] = RTCPeerConnection()
        connection.on("datachannel", echo)
        return connection

    async def dial(self, other):
        result = await self.ask(type="session", to=other)
        session = result["session_id"]
        connection = self.begin(session)
        channel = connection.createDataChannel("synapse")
        channel.on("open", lambda: channel.send("hello"))
        echo(channel)
        await connection.setLocalDescription(await connection.createOffer())
        await self.describe(session, connection, 1)

    async def take(self, frame):
        session, signal = frame["session_id"], frame["signal"]
        kind = signal["type"]
        if kind == "offer":
            connection = self.sessions.get(session) or self.begin(session)
            await connection.setRemoteDescription(RTCSessionDescription(signal["sdp"], "offer"))
            await connection.setLocalDescription(await connection.createAnswer())
            await self.describe(session, connection, signal["generation"])
            return
        connection = self.sessions.get(session)
        if connection is None:
            return
        if kind == "answer":
            await connection.setRemoteDescription(RTCSessionDescription(signal["sdp"], "answer"))
        elif kind == "candidate" and signal["candidate"]:
            candidate = candidate_from_sdp(signal["candidate"].split(":", 1)[1])
            candidate.sdpMid = signal.get("sdp_mid") or "0"
            await connection.addIceCandidate(candidate)
        elif kind == "bye":
            await self.sessions.pop(session).close()


def echo(channel):
    channel.on("message", channel.send)


async def work_off(queue, peer):
    """Signals one after the other, beside the frames: an answer waits for its outcome."""
    while True:
        await peer.take(await queue.get())


async def main(url, token, proof, name, other=None):
    async with connect(url, subprotocols=["synapse.v1"]) as socket:
        peer, queue = Peer(socket), asyncio.Queue(maxsize=1000)

        async def enter():
            await peer.ask(type="auth", token=token, proof=proof, peer_id=name)
            print(f"{name} is here", flush=True)
            if other is not None:
                await peer.dial(other)

        tasks = [asyncio.create_task(work_off(queue, peer))]
        async for text in socket:
            frame = json.loads(text)
            kind = frame["type"]
            if kind == "hello":
                tasks.append(asyncio.create_task(enter()))
            elif kind == "signal":
                queue.put_nowait(frame)
            elif kind == "outcome" and frame.get("id") in peer.waiting:
                outcome = peer.waiting.pop(frame["id"])
                if frame.get("problem"):
                    outcome.set_exception(RuntimeError(frame["problem"]))
                else:
                    outcome.set_result(frame.get("result"))
            for task in tasks:
                if task.done() and task.exception():
                    raise task.exception()


asyncio.run(main(*sys.argv[1:]))
