"""A browser's part in a call, by aiortc: its own ICE, DTLS, SRTP and RTP, none of it Chromium's.

Takes its orders as one JSON argument, says what happens as one JSON line each, and ends when the call ends or
a line comes on its standard input. It hears all, decrypted: every RTP and RTCP packet goes into a file.
"""

import asyncio
import fractions
import json
import math
import sys
import threading
import urllib.error
import urllib.request

from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription, rtcdtlstransport
from aiortc.mediastreams import MediaStreamTrack
from av import AudioFrame

RATE = 8000
FRAME = 160


one_at_a_time = threading.Lock()


def say(what, **more):
    with one_at_a_time:
        print(json.dumps({"said": what, **more}), flush=True)


class Tone(MediaStreamTrack):
    """A sine at a quarter of full scale, 20 ms at a time."""

    kind = "audio"

    def __init__(self, hertz):
        super().__init__()
        self.hertz = hertz
        self.at = 0
        self.start = None

    async def recv(self):
        loop = asyncio.get_running_loop()
        self.start = self.start or loop.time()
        await asyncio.sleep(max(0, self.start + self.at / RATE - loop.time()))
        turns = (self.hertz * (self.at + i) / RATE for i in range(FRAME))
        samples = b"".join(int(8000 * math.sin(math.tau * turn)).to_bytes(2, "little", signed=True) for turn in turns)
        frame = AudioFrame(format="s16", layout="mono", samples=FRAME)
        frame.planes[0].update(samples)
        frame.pts, frame.sample_rate, frame.time_base = self.at, RATE, fractions.Fraction(1, RATE)
        self.at += FRAME
        return frame


def keep_packets(path):
    """Writes each decrypted packet, in hexadecimal, on a line of its own."""
    out = open(path, "w")
    transport = rtcdtlstransport.RTCDtlsTransport
    for name in ("_handle_rtp_data", "_handle_rtcp_data"):
        original = getattr(transport, name)

        async def keep(self, data, original=original, **more):
            out.write(bytes(data).hex() + "\n")
            out.flush()
            return await original(self, data, **more)

        setattr(transport, name, keep)


def request(method, url, bearer, body=None, kind=None):
    headers = {"Authorization": f"Bearer {bearer}"}
    if kind:
        headers["Content-Type"] = kind
    asked = urllib.request.Request(url, data=body, method=method, headers=headers)
    try:
        return urllib.request.urlopen(asked, timeout=60)
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"{method} {error.code} {error.read().decode()}") from None


def read_events(url, secret, loop, ended):
    """Says each event; sets `ended` at the end of the stream."""
    try:
        fields = {}
        for line in request("GET", url, secret):
            line = line.decode().rstrip("\r\n")
            if not line and fields:
                say("event", event=fields.get("event"), data=json.loads(fields.get("data", "null")))
                fields = {}
            elif line and not line.startswith(":"):
                name, _, value = line.partition(":")
                fields[name] = value.strip()
    except Exception as error:  # the stream is part of what is tested: its failure is told, not raised
        say("error", text=f"event stream: {error}")
    loop.call_soon_threadsafe(ended.set)


async def record(track, heard):
    """Appends what the track plays: 16-bit samples at its own rate, which G.711 makes 8 kHz."""
    while True:
        try:
            frame = await track.recv()
        except Exception:
            return
        if frame.sample_rate != RATE:
            say("error", text=f"audio at {frame.sample_rate} Hz")
        heard.write(bytes(frame.planes[0])[: frame.samples * 2 * len(frame.layout.channels)])
        heard.flush()


async def main(orders):
    keep_packets(orders["packets"])
    loop = asyncio.get_running_loop()
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    transceiver = connection.addTransceiver(Tone(orders["hertz"]), direction="sendrecv")
    codecs = RTCRtpSender.getCapabilities("audio").codecs
    transceiver.setCodecPreferences([c for c in codecs if c.mimeType == f"audio/{orders['codec']}"])
    heard = open(orders["heard"], "wb")
    connection.on("track", lambda track: asyncio.ensure_future(record(track, heard)))
    connected = asyncio.Event()

    @connection.on("connectionstatechange")
    def changed():
        say("connection", state=connection.connectionState)
        if connection.connectionState == "connected":
            connected.set()

    await connection.setLocalDescription(await connection.createOffer())
    offer = connection.localDescription.sdp
    answer = await asyncio.to_thread(
        request, "POST", orders["api"] + orders["path"], orders["token"], offer.encode(), "application/sdp"
    )
    location = orders["api"] + answer.headers["Location"].removeprefix(orders["api"])
    secret = answer.headers["Revbridge-Reconnect"]
    text = answer.read().decode()
    say("answer", offer=offer, sdp=text)
    await connection.setRemoteDescription(RTCSessionDescription(text, "answer"))
    ended, order = asyncio.Event(), asyncio.Event()
    threading.Thread(target=read_events, args=(f"{location}/events", secret, loop, ended), daemon=True).start()
    threading.Thread(target=lambda: (sys.stdin.readline(), loop.call_soon_threadsafe(order.set)), daemon=True).start()
    await asyncio.wait_for(connected.wait(), 20)
    if orders["dial"]:
        await asyncio.to_thread(request, "POST", f"{location}/dial", secret)
    waiting = [asyncio.ensure_future(event.wait()) for event in (ended, order)]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    if not ended.is_set():
        await asyncio.to_thread(request, "POST", f"{location}/hangup", secret)
        await asyncio.wait_for(ended.wait(), 10)
    await connection.close()
    say("done")


asyncio.run(main(json.loads(sys.argv[1])))
