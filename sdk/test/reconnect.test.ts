import { describe, expect, it, vi } from "vitest";
import { RevDeskRTC } from "../src/index.js";
import { codeOf, pass, PeerConnection, record, refusal, SECRET, settle, TOKEN, world } from "./world.js";

async function connected(): Promise<{ rtc: RevDeskRTC; told: string[] }> {
  const rtc = new RevDeskRTC({ token: TOKEN });
  const told = record(rtc);
  await rtc.connect();
  told.length = 0;
  return { rtc, told };
}

describe("the audio path is restored", () => {
  it.each(["disconnected", "failed"])("when it is %s, by a restart of ICE with the same peer", async (state) => {
    const { told } = await connected();
    PeerConnection.last.become(state);
    await settle();
    expect(told).toEqual(["reconnecting:media", "reconnected"]);
    const [patch] = world.requests("PATCH");
    expect(patch?.bearer).toBe(SECRET);
    expect(patch?.headers.get("Content-Type")).toBe("application/sdp");
    expect(PeerConnection.all).toHaveLength(1);
    expect(PeerConnection.last.restarts).toBe(1);
  });

  it("when the network changes, but not when only its speed does", async () => {
    const { told } = await connected();
    world.network.dispatchEvent(new Event("change"));
    await settle();
    expect(told).toEqual([]);
    world.network.type = "cellular";
    world.network.dispatchEvent(new Event("change"));
    await settle();
    expect(told).toEqual(["reconnecting:network", "reconnected"]);
    world.page.dispatchEvent(new Event("online"));
    await settle();
    expect(world.requests("PATCH")).toHaveLength(2);
  });

  it("once, however many say so", async () => {
    const { told } = await connected();
    const peer = PeerConnection.last;
    peer.become("disconnected");
    peer.become("failed");
    world.tell("peer", { connected: false });
    world.page.dispatchEvent(new Event("offline"));
    await settle();
    await pass(2_000);
    expect(told.filter((name) => name === "reconnected")).toHaveLength(1);
    expect(told[0]).toBe("reconnecting:media");
    expect(told).toHaveLength(2);
  });

  it("at once when the network is back, without waiting for the next attempt", async () => {
    const { told } = await connected();
    world.offline = true;
    PeerConnection.last.become("disconnected");
    await settle();
    await pass(8_000);
    world.offline = false;
    world.page.dispatchEvent(new Event("online"));
    await settle();
    expect(told).toEqual(["reconnecting:media", "reconnected"]);
  });

  it("even when a request hangs on the network that is gone", async () => {
    const { told } = await connected();
    world.overrides.set("PATCH ", () => new Promise(() => undefined));
    PeerConnection.last.become("disconnected");
    await settle();
    world.overrides.clear();
    world.page.dispatchEvent(new Event("online"));
    await settle();
    await pass(250);
    expect(told).toEqual(["reconnecting:media", "reconnected"]);
  });

  it("with a new peer when a restart does not help", async () => {
    const { told } = await connected();
    const [first] = PeerConnection.all;
    world.pathOpens = (peer) => peer !== first;
    PeerConnection.last.become("failed");
    await settle();
    await pass(1_000);
    expect(told).toEqual(["reconnecting:media", "reconnected"]);
    expect(PeerConnection.all).toHaveLength(2);
    expect(first?.connectionState).toBe("closed");
    expect(PeerConnection.last.sender.track).toBe(world.captured[0]);
  });

  it("again when it is lost again", async () => {
    const { told } = await connected();
    for (let time = 0; time < 3; time++) {
      PeerConnection.last.become("disconnected");
      await settle();
    }
    expect(told).toEqual(Array.from({ length: 3 }, () => ["reconnecting:media", "reconnected"]).flat());
  });

  it("when the server does not hear us though we hear it, unless it takes that back", async () => {
    const { told } = await connected();
    world.tell("peer", { connected: false });
    await settle();
    await pass(500);
    world.tell("peer", { connected: true });
    await settle();
    await pass(2_000);
    expect(told).toEqual([]);
    world.tell("peer", { connected: false });
    await settle();
    await pass(1_250);
    expect(told).toEqual(["reconnecting:server", "reconnected"]);
  });

  it("until the grace time is over: then the call is lost", async () => {
    const { rtc, told } = await connected();
    world.offline = true;
    world.cutStreams();
    PeerConnection.last.become("disconnected");
    await settle();
    await pass(40_000);
    expect(told).toEqual(["reconnecting:media"]);
    expect(rtc.reconnecting).toBe(true);
    await pass(10_000);
    expect(told).toEqual(["reconnecting:media", "error:server_unreachable", "disconnect:connection_lost"]);
    expect(rtc.state).toBe("ended");
    await pass(60_000);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("with the network blocked for good: says so", async () => {
    const { told } = await connected();
    world.pathOpens = () => false;
    PeerConnection.last.become("failed");
    await settle();
    await pass(60_000);
    expect(told).toEqual(["reconnecting:media", "error:network_blocked", "disconnect:connection_lost"]);
    expect(world.gone).toBe(true);
  });

  it("not when the server says that the call is over", async () => {
    const { told } = await connected();
    world.gone = true;
    PeerConnection.last.become("disconnected");
    await settle();
    expect(told).toEqual(["reconnecting:media", "error:call_gone", "disconnect:connection_lost"]);
    expect(world.requests("PATCH")).toHaveLength(1);
  });

  it("later when the server is busy", async () => {
    const { told } = await connected();
    let refusals = 0;
    world.overrides.set("PATCH ", () => {
      refusals++;
      if (refusals === 2) world.overrides.clear();
      return refusal(503, "unavailable", {}, { "Retry-After": "3" });
    });
    PeerConnection.last.become("disconnected");
    await settle();
    await pass(2_750);
    expect(refusals).toBe(1);
    await pass(3_500);
    expect(told).toEqual(["reconnecting:media", "reconnected"]);
  });
});

describe("the events", () => {
  it("go on after an interruption from where they were", async () => {
    const { told } = await connected();
    world.tell("state", { state: "ringing", call_id: "call_1" }, "ev-7");
    await settle();
    world.raw("id: ev-8\nevent: state\ndata: {");
    await settle();
    world.cutStreams();
    await settle();
    await pass(500);
    const [first, second] = world.requests("GET", "/events");
    expect(first?.headers.has("Last-Event-ID")).toBe(false);
    expect(second?.headers.get("Last-Event-ID")).toBe("ev-7");
    world.tell("state", { state: "answered", call_id: "call_1" }, "ev-8");
    await settle();
    expect(told).toEqual(["ringing", "accept"]);
  });

  it("are asked for again when not even a comment comes", async () => {
    await connected();
    for (let time = 0; time < 4; time++) {
      await pass(15_000);
      world.raw(": alive\n\n");
      await settle();
    }
    expect(world.requests("GET", "/events")).toHaveLength(1);
    await pass(41_000);
    expect(world.requests("GET", "/events")).toHaveLength(2);
  });

  it("that the server does not know any more mean that the call is lost", async () => {
    const { told } = await connected();
    world.gone = true;
    world.cutStreams();
    await settle();
    await pass(1_000);
    expect(told).toEqual(["disconnect:connection_lost"]);
  });
});

describe("a reload of the page", () => {
  it("keeps the call: same token, new peer, PATCH; mute and device as they were", async () => {
    const { rtc } = await connected();
    await rtc.setInputDevice("headset");
    rtc.mute();
    world.page.dispatchEvent(new Event("pagehide"));
    PeerConnection.last.become("failed");
    await settle();
    expect(world.requests("DELETE")).toEqual([]);
    expect(world.requests("PATCH")).toEqual([]);
    world.reload();

    const again = new RevDeskRTC({ token: TOKEN });
    const told = record(again);
    await again.connect();
    await settle();
    expect(told).toEqual(["connecting", "reconnecting:page", "reconnected"]);
    expect(world.requests("POST", "/v1/webrtc/connections")).toHaveLength(1);
    const [patch] = world.requests("PATCH");
    expect(patch?.bearer).toBe(SECRET);
    expect(patch?.body).toContain("sha-256 1");
    expect(again.muted).toBe(true);
    expect(PeerConnection.last.sender.track).toMatchObject({ device: "headset", enabled: false });
    world.tell("state", { state: "answered", call_id: "call_1" });
    await settle();
    expect(told.at(-1)).toBe("accept");
    await again.hangup();
    expect([world.requests("DELETE").length, world.storage.size]).toEqual([1, 0]);
  });

  it("does not wait for the microphone, and lives without it", async () => {
    await connected();
    world.reload();
    world.microphone = "NotAllowedError";
    const again = new RevDeskRTC({ token: TOKEN });
    const told = record(again);
    await again.connect();
    expect(told).toEqual(["connecting", "reconnecting:page", "error:microphone_denied", "reconnected"]);
    world.microphone = undefined;
    await again.setInputDevice("default");
    expect(PeerConnection.last.sender.track?.readyState).toBe("live");
  });

  it("too late finds the call over, once", async () => {
    await connected();
    world.reload();
    world.gone = true;
    const again = new RevDeskRTC({ token: TOKEN });
    const told = record(again);
    expect(await codeOf(again.connect())).toBe("call_gone");
    expect(told).toEqual(["connecting", "reconnecting:page", "error:call_gone", "disconnect:connection_lost"]);
    expect(world.storage.size).toBe(0);
    const [tracks] = [world.captured.filter(({ readyState }) => readyState === "live")];
    // The first page's own microphone went with it.
    expect(tracks.length).toBeLessThanOrEqual(1);
  });

  it("while the server is away goes on when it is back", async () => {
    await connected();
    world.reload();
    world.offline = true;
    const again = new RevDeskRTC({ token: TOKEN });
    const done = codeOf(again.connect());
    await settle();
    await pass(5_000);
    world.offline = false;
    await pass(3_000);
    expect(await done).toBe("none");
  });

  it("ends the call by the grace time when that is chosen", async () => {
    const rtc = new RevDeskRTC({ token: TOKEN, surviveReload: false });
    await rtc.connect();
    expect(world.storage.size).toBe(0);
    world.reload();
    expect(await codeOf(new RevDeskRTC({ token: TOKEN, surviveReload: false }).connect())).toBe("token_used");
  });

  it("with a storage that is blocked or full changes nothing else", async () => {
    vi.stubGlobal("sessionStorage", {
      getItem: () => null,
      setItem: () => {
        throw new DOMException("full", "QuotaExceededError");
      },
      removeItem: () => undefined,
    });
    const { rtc } = await connected();
    expect(rtc.state).toBe("ready");
  });

  it("with an entry that is damaged is as without it", async () => {
    await connected();
    for (const key of world.storage.keys()) world.storage.set(key, "{");
    world.reload();
    expect(await codeOf(new RevDeskRTC({ token: TOKEN }).connect())).toBe("token_used");
  });

  it("in a duplicated tab does not take the call away", async () => {
    const { rtc } = await connected();
    const twin = new RevDeskRTC({ token: TOKEN });
    const code = codeOf(twin.connect());
    await settle();
    await pass(2_250);
    expect(await code).toBe("open_elsewhere");
    expect(rtc.state).toBe("ready");
    expect(world.storage.size).toBe(1);
    expect(world.requests("PATCH")).toEqual([]);
    // The first leaves, and lets go.
    await rtc.hangup();
    expect(await codeOf(twin.connect())).toBe("token_used");
  });
});
