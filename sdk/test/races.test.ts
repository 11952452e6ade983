import { describe, expect, it, vi } from "vitest";
import { RevDeskRTC } from "../src/index.js";
import { codeOf, gate, pass, PeerConnection, record, refusal, settle, TOKEN, world } from "./world.js";

const OPEN = "POST /v1/webrtc/connections";

/** Nothing of an ended leg may be left: no microphone, no peer, no stream, no timer, no entry. */
function expectNothingLeft(): void {
  expect(world.captured.filter(({ readyState }) => readyState !== "ended")).toEqual([]);
  expect(PeerConnection.all.filter(({ connectionState }) => connectionState !== "closed")).toEqual([]);
  expect([world.listeners, world.storage.size, vi.getTimerCount()]).toEqual([0, 0, 0]);
}

describe("hang-up", () => {
  it("while the microphone is being asked for: nothing reaches the server", async () => {
    const asked = gate<void>();
    const { getUserMedia } = navigator.mediaDevices;
    navigator.mediaDevices.getUserMedia = async (wanted) => {
      await asked.promise;
      return getUserMedia(wanted);
    };
    const rtc = new RevDeskRTC({ token: TOKEN });
    const told = record(rtc);
    const code = codeOf(rtc.connect());
    await settle();
    const hungUp = rtc.hangup();
    asked.open();
    await hungUp;
    expect(await code).toBe("canceled");
    expect(told).toEqual(["connecting", "disconnect:user_hangup"]);
    expect(world.asked).toEqual([]);
    expectNothingLeft();
  });

  it("while the offer is under way: the leg that it opens is ended", async () => {
    const answered = gate<Response>();
    world.overrides.set(OPEN, () => answered.promise);
    const rtc = new RevDeskRTC({ token: TOKEN });
    const told = record(rtc);
    const code = codeOf(rtc.connect());
    await settle();
    let over = false;
    const hungUp = rtc.hangup().then(() => (over = true));
    await settle();
    // Told at once, but the server does not know yet.
    expect(told).toEqual(["connecting", "disconnect:user_hangup"]);
    expect(over).toBe(false);
    answered.open(world.open());
    await hungUp;
    expect(await code).toBe("canceled");
    expect(world.requests("DELETE")).toHaveLength(1);
    expect(world.gone).toBe(true);
    expect(PeerConnection.last.remote).toEqual([]);
    expectNothingLeft();
  });

  it("while the offer is under way and then refused: no error any more", async () => {
    const answered = gate<Response>();
    world.overrides.set(OPEN, () => answered.promise);
    const rtc = new RevDeskRTC({ token: TOKEN });
    const told = record(rtc);
    const code = codeOf(rtc.connect());
    await settle();
    const hungUp = rtc.hangup();
    answered.open(refusal(409, "token_used"));
    await hungUp;
    expect(await code).toBe("canceled");
    expect(told).toEqual(["connecting", "disconnect:user_hangup"]);
    expectNothingLeft();
  });

  it("while the audio path is being made", async () => {
    world.pathOpens = () => false;
    const rtc = new RevDeskRTC({ token: TOKEN });
    const told = record(rtc);
    const code = codeOf(rtc.connect());
    await settle();
    await rtc.hangup();
    expect(await code).toBe("canceled");
    expect(told).toEqual(["connecting", "disconnect:user_hangup"]);
    expect(world.requests("DELETE")).toHaveLength(1);
    expectNothingLeft();
  });

  it("while the path is being restored: the answer that comes later is not applied", async () => {
    const rtc = new RevDeskRTC({ token: TOKEN });
    const told = record(rtc);
    await rtc.connect();
    const answered = gate<Response>();
    world.overrides.set("PATCH ", () => answered.promise);
    PeerConnection.last.become("disconnected");
    await settle();
    await rtc.hangup();
    answered.open(new Response("v=0\r\nm=audio", { headers: { "Content-Type": "application/sdp" } }));
    await settle();
    await pass(60_000);
    expect(told).toEqual(["connecting", "reconnecting:media", "disconnect:user_hangup"]);
    expect(PeerConnection.last.remote).toHaveLength(1);
    expect(PeerConnection.all).toHaveLength(1);
    expectNothingLeft();
  });

  it("while another microphone is being opened", async () => {
    const rtc = new RevDeskRTC({ token: TOKEN });
    await rtc.connect();
    const chosen = codeOf(rtc.setInputDevice("headset"));
    await rtc.hangup();
    expect(await chosen).toBe("canceled");
    expectNothingLeft();
  });

  it("in a listener of each event", async () => {
    const rtc = new RevDeskRTC({ token: TOKEN });
    const told = record(rtc);
    rtc.on("connecting", () => void rtc.hangup());
    expect(await codeOf(rtc.connect())).toBe("canceled");
    expect(told).toEqual(["connecting", "disconnect:user_hangup"]);
    await settle();
    expectNothingLeft();

    const other = new RevDeskRTC({ token: TOKEN });
    const also = record(other);
    other.on("reconnected", () => void other.hangup());
    await other.connect();
    PeerConnection.last.become("failed");
    await settle();
    await pass(1_000);
    expect(also).toEqual(["connecting", "reconnecting:media", "reconnected", "disconnect:user_hangup"]);
    expectNothingLeft();
  });

  it("twice, and before anything", async () => {
    const rtc = new RevDeskRTC({ token: TOKEN });
    const told = record(rtc);
    await rtc.hangup();
    expect(told).toEqual([]);
    expect(await codeOf(rtc.connect())).toBe("invalid_state");
    const other = new RevDeskRTC({ token: TOKEN });
    const also = record(other);
    await other.connect();
    world.tell("state", { state: "answered", call_id: "call_1" });
    await settle();
    await Promise.all([other.hangup(), other.hangup()]);
    expect(also).toEqual(["connecting", "accept", "disconnect:hangup"]);
    expectNothingLeft();
  });

  it("of which the server cannot be told: the call is over here, and the page hears of it", async () => {
    const rtc = new RevDeskRTC({ token: TOKEN });
    const told = record(rtc);
    await rtc.connect();
    world.offline = true;
    const code = codeOf(rtc.hangup());
    await settle();
    await pass(3_000);
    expect(await code).toBe("server_unreachable");
    expect(told).toEqual(["connecting", "disconnect:user_hangup"]);
    expectNothingLeft();
  });
});

describe("at once", () => {
  it("two connects open one leg", async () => {
    const rtc = new RevDeskRTC({ token: TOKEN });
    await Promise.all([rtc.connect(), rtc.connect(), rtc.dial(), rtc.dial()]);
    await rtc.connect();
    expect(world.requests("POST", "/v1/webrtc/connections")).toHaveLength(1);
    expect(world.captured).toHaveLength(1);
  });

  it("two legs with one token: one wins, the other is told", async () => {
    const [one, two] = [new RevDeskRTC({ token: TOKEN }), new RevDeskRTC({ token: TOKEN })];
    const codes = Promise.all([codeOf(one.connect()), codeOf(two.connect())]);
    await settle();
    await pass(2_250);
    expect((await codes).sort()).toEqual(["none", "open_elsewhere"]);
    expect(world.requests("PATCH")).toEqual([]);
  });

  it("two changes of the device: the later one stays", async () => {
    const rtc = new RevDeskRTC({ token: TOKEN });
    await rtc.connect();
    const first = gate<void>();
    const { getUserMedia } = navigator.mediaDevices;
    navigator.mediaDevices.getUserMedia = async (wanted) => {
      if (JSON.stringify(wanted).includes("slow")) await first.promise;
      return getUserMedia(wanted);
    };
    const slow = rtc.setInputDevice("slow");
    await rtc.setInputDevice("quick");
    first.open();
    await slow;
    expect(PeerConnection.last.sender.track?.device).toBe("quick");
    expect(world.captured.map(({ device, readyState }) => `${device} ${readyState}`)).toEqual(["default ended", "quick live", "slow ended"]);
  });

  it("another device while the first is being opened", async () => {
    const first = gate<void>();
    const { getUserMedia } = navigator.mediaDevices;
    navigator.mediaDevices.getUserMedia = async (wanted) => {
      if (!JSON.stringify(wanted).includes("headset")) await first.promise;
      return getUserMedia(wanted);
    };
    const rtc = new RevDeskRTC({ token: TOKEN });
    const connected = rtc.connect();
    await settle();
    await rtc.setInputDevice("headset");
    first.open();
    await connected;
    expect(PeerConnection.last.sender.track?.device).toBe("headset");
  });

  it("the end that the server tells, and a hang-up", async () => {
    const rtc = new RevDeskRTC({ token: TOKEN });
    const told = record(rtc);
    await rtc.connect();
    const hungUp = rtc.hangup();
    world.tell("state", { state: "ended", call_id: "call_1", reason: "hangup", ended_by: "destination" });
    await hungUp;
    await settle();
    expect(told).toEqual(["connecting", "disconnect:user_hangup"]);
  });

  it("the end of the call while the path is being restored", async () => {
    const rtc = new RevDeskRTC({ token: TOKEN });
    const told = record(rtc);
    await rtc.connect();
    world.pathOpens = () => false;
    PeerConnection.last.become("failed");
    await settle();
    world.tell("state", { state: "ended", call_id: "call_1", reason: "hangup", ended_by: "destination" });
    await settle();
    await pass(60_000);
    expect(told).toEqual(["connecting", "reconnecting:media", "disconnect:hangup"]);
    expectNothingLeft();
  });

  it("the end of the call before its audio path stood", async () => {
    world.pathOpens = () => false;
    const rtc = new RevDeskRTC({ token: TOKEN });
    const told = record(rtc);
    const code = codeOf(rtc.connect());
    await settle();
    world.tell("state", { state: "ended", call_id: "call_1", reason: "api_hangup", ended_by: "api" });
    await settle();
    expect(await code).toBe("canceled");
    expect(told).toEqual(["connecting", "disconnect:api_hangup"]);
    expectNothingLeft();
  });
});
