import { describe, expect, it, vi } from "vitest";
import { ERROR_CODES, RevDeskError, RevDeskRoom, RevDeskRTC } from "../src/index.js";
import { codeOf, ORIGIN, pass, PeerConnection, record, refusal, ROOM_URL, SECRET, settle, TOKEN, Track, world } from "./world.js";

declare const process: { on(name: string, listener: (fault: unknown) => void): void; off: typeof process.on };

describe("connect", () => {
  it("opens the leg with the token and everything after it with the secret", async () => {
    const rtc = new RevDeskRTC({ token: TOKEN });
    const told = record(rtc);
    await rtc.connect();
    await rtc.dial("+13035550123");
    expect(told).toEqual(["connecting"]);
    expect(rtc.state).toBe("ready");

    const [open] = world.requests("POST", "/v1/webrtc/connections");
    expect(open?.url).toBe(`${ORIGIN}/v1/webrtc/connections`);
    expect(open?.bearer).toBe(TOKEN);
    expect(open?.headers.get("Content-Type")).toBe("application/sdp");
    expect(open?.body).toMatch(/^v=0/);
    const [dial] = world.requests("POST", "/dial");
    expect(dial?.bearer).toBe(SECRET);
    expect(JSON.parse(dial?.body ?? "")).toEqual({ to_number: "+13035550123" });
    expect(world.requests("GET", "/events")[0]?.bearer).toBe(SECRET);
  });

  it("writes no token and no secret into a URL, a body or the storage's key, and follows no redirect", async () => {
    const rtc = new RevDeskRTC({ token: TOKEN });
    await rtc.connect();
    await rtc.dial();
    await rtc.hangup();
    expect(world.asked.length).toBeGreaterThan(3);
    for (const { url, body, init } of world.asked) {
      expect(url + body).not.toMatch(/rv[wr]_/);
      expect(init).toMatchObject({ redirect: "error", credentials: "omit", referrerPolicy: "no-referrer", cache: "no-store" });
    }
    const other = new RevDeskRTC({ token: `${TOKEN}2` });
    world.overrides.set("POST /v1/webrtc/connections", () => world.open());
    world.tokenUsed = false;
    await other.connect();
    expect(world.storage.size).toBe(1);
    expect(JSON.stringify([...world.storage])).not.toContain("rvw_");
  });

  it("offers G.711 and keys, asks for a processed voice, and waits for no candidate", async () => {
    const seen: unknown[] = [];
    const { getUserMedia } = navigator.mediaDevices;
    navigator.mediaDevices.getUserMedia = (wanted) => {
      seen.push(wanted);
      return getUserMedia(wanted);
    };
    await new RevDeskRTC({ token: TOKEN, constraints: { noiseSuppression: false } }).connect();
    expect(seen).toEqual([{ audio: { echoCancellation: true, noiseSuppression: false, autoGainControl: true } }]);
    expect(PeerConnection.last.preferred.map(({ mimeType }) => mimeType)).toEqual(["audio/PCMU", "audio/PCMA", "audio/telephone-event"]);
  });

  it("of a room posts to the room's URL", async () => {
    const room = new RevDeskRoom({ token: TOKEN, roomUrl: ROOM_URL });
    const told = record(room);
    await room.connect();
    expect(world.requests("POST")[0]?.url).toBe(ROOM_URL);
    world.tell("state", { state: "ringing", call_id: "call_1" });
    world.tell("state", { state: "early_media", call_id: "call_1" });
    world.tell("state", { state: "answered", call_id: "call_1" });
    await settle();
    expect(told).toEqual(["connecting", "ringing", "ringing:early", "accept"]);
    expect(room.callId).toBe("call_1");
  });

  it("plays the other party, in the element given", async () => {
    const audio = new Audio();
    const rtc = new RevDeskRTC({ token: TOKEN, audio });
    await rtc.connect();
    PeerConnection.last.hear();
    expect(rtc.audio).toBe(audio);
    expect(audio.srcObject).not.toBeNull();
    expect(audio.autoplay).toBe(true);
    await rtc.hangup();
    expect(audio.srcObject).toBeNull();
  });

  it("says when the browser wants a click before it plays", async () => {
    const rtc = new RevDeskRTC({ token: TOKEN });
    const told = record(rtc);
    await rtc.connect();
    rtc.audio.play = () => Promise.reject(new DOMException("click first", "NotAllowedError"));
    PeerConnection.last.hear();
    await settle();
    expect(told).toEqual(["connecting", "error:playback_blocked"]);
    expect(await codeOf(rtc.play())).toBe("playback_blocked");
    expect(rtc.state).toBe("ready");
  });

  it("goes through TURN when the direct path does not stand in time", async () => {
    world.link = '<turn:turn.example:3478?transport=udp>; rel="ice-server"; username="u"; credential="c"';
    world.pathOpens = (peer) => peer.configuration.iceServers?.length === 1;
    const rtc = new RevDeskRTC({ token: TOKEN });
    const connected = rtc.connect();
    await pass(3_250);
    await connected;
    expect(world.requests("PATCH")).toHaveLength(1);
    expect(PeerConnection.all).toHaveLength(1);
    expect(PeerConnection.last.restarts).toBe(1);
    expect(PeerConnection.last.configuration.iceServers?.[0]?.urls).toBe("turn:turn.example:3478?transport=udp");
  });
});

describe("a failure has a code, a message that says what to do, and leaves nothing open", () => {
  it.each([
    ["NotAllowedError", "microphone_denied"],
    ["SecurityError", "microphone_denied"],
    ["NotFoundError", "microphone_missing"],
    ["OverconstrainedError", "microphone_missing"],
    ["NotReadableError", "microphone_busy"],
    ["AbortError", "microphone_busy"],
  ])("microphone: %s", async (name, code) => {
    world.microphone = name;
    const rtc = new RevDeskRTC({ token: TOKEN });
    const told = record(rtc);
    expect(await codeOf(rtc.connect())).toBe(code);
    expect(told).toEqual(["connecting", `error:${code}`]);
    // The token is still good: nothing has reached the server, and it can be tried again.
    expect(world.asked).toEqual([]);
    expect(rtc.state).toBe("idle");
    world.microphone = undefined;
    await rtc.connect();
    expect(rtc.state).toBe("ready");
  });

  it("insecure page, old browser", async () => {
    vi.stubGlobal("navigator", {});
    vi.stubGlobal("isSecureContext", false);
    expect(await codeOf(new RevDeskRTC({ token: TOKEN }).connect())).toBe("insecure_page");
    vi.stubGlobal("isSecureContext", true);
    expect(await codeOf(new RevDeskRTC({ token: TOKEN }).connect())).toBe("unsupported_browser");
  });

  it("no RTCPeerConnection", async () => {
    vi.stubGlobal("RTCPeerConnection", undefined);
    expect(await codeOf(new RevDeskRTC({ token: TOKEN }).connect())).toBe("unsupported_browser");
    expect(world.captured.every(({ readyState }) => readyState === "ended")).toBe(true);
  });

  it("blocked network: no path ever stands", async () => {
    world.pathOpens = () => false;
    const rtc = new RevDeskRTC({ token: TOKEN });
    const told = record(rtc);
    const code = codeOf(rtc.connect());
    await settle();
    await pass(15_250);
    expect(await code).toBe("network_blocked");
    expect(told).toEqual(["connecting", "error:network_blocked", "disconnect:connection_failed"]);
    expect(world.requests("DELETE")).toHaveLength(1);
    expect(rtc.state).toBe("ended");
    expect(world.captured[0]?.readyState).toBe("ended");
    expect(world.storage.size).toBe(0);
  });

  it("blocked network, told by the browser at once", async () => {
    world.pathOpens = () => false;
    const code = codeOf(new RevDeskRTC({ token: TOKEN }).connect());
    await settle();
    PeerConnection.last.become("failed");
    expect(await code).toBe("network_blocked");
  });

  it("server gone", async () => {
    world.offline = true;
    const rtc = new RevDeskRTC({ token: TOKEN });
    const told = record(rtc);
    expect(await codeOf(rtc.connect())).toBe("server_unreachable");
    expect(told).toEqual(["connecting", "error:server_unreachable"]);
    expect(world.captured[0]?.readyState).toBe("ended");
    expect(PeerConnection.last.connectionState).toBe("closed");
  });

  it("server silent", async () => {
    world.overrides.set("POST /v1/webrtc/connections", () => new Promise(() => undefined));
    const code = codeOf(new RevDeskRTC({ token: TOKEN }).connect());
    await settle();
    await pass(10_250);
    expect(await code).toBe("server_unreachable");
  });

  it.each([
    [401, "token_invalid"],
    [401, "token_expired"],
    [409, "token_used"],
    [403, "token_wrong_path"],
    [400, "offer_invalid"],
    [400, "no_common_codec"],
    [429, "rate_limited"],
    [503, "unavailable"],
  ])("%i %s", async (status, code) => {
    world.overrides.set("POST /v1/webrtc/connections", () => refusal(status, code, { fields: { sdp: "no audio" } }, { "Retry-After": "7" }));
    const rtc = new RevDeskRTC({ token: TOKEN });
    const error = await rtc.connect().catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(RevDeskError);
    expect(error).toMatchObject({ code, status, requestId: "req_1", retryAfterSeconds: 7, fields: { sdp: "no audio" } });
    expect((error as RevDeskError).message).not.toBe("the server's own words");
    expect(rtc.state).toBe("idle");
  });

  it.each([
    ["an unknown code", refusal(418, "teapot"), "server_error"],
    ["a proxy's page", new Response("<html>", { status: 502 }), "unavailable"],
    ["a proxy's 404", new Response("<html>", { status: 404 }), "call_gone"],
    ["an envelope that is none", Response.json(null, { status: 500 }), "server_error"],
    ["a code that is a method's name", refusal(400, "toString"), "server_error"],
    ["no Location", new Response("v=0", { status: 201, headers: { "Content-Type": "application/sdp", "Revbridge-Reconnect": SECRET } }), "server_error"],
    ["HTML for an answer", new Response("<html>", { status: 201, headers: { "Content-Type": "text/html", Location: "/x", "Revbridge-Reconnect": SECRET } }), "server_error"],
  ])("%s", async (_, response, code) => {
    world.overrides.set("POST /v1/webrtc/connections", () => response);
    expect(await codeOf(new RevDeskRTC({ token: TOKEN }).connect())).toBe(code);
  });

  it("a Location on another origin gets no secret", async () => {
    world.location = "https://elsewhere.example/v1/webrtc/connections/conn_01";
    expect(await codeOf(new RevDeskRTC({ token: TOKEN }).connect())).toBe("server_error");
    expect(world.asked).toHaveLength(1);
  });

  it("an answer without audio ends the leg that it opened", async () => {
    world.overrides.set("POST /v1/webrtc/connections", () => {
      const { headers } = world.open();
      return new Response("v=0\r\n", { status: 201, headers });
    });
    const rtc = new RevDeskRTC({ token: TOKEN });
    expect(await codeOf(rtc.connect())).toBe("server_error");
    expect(world.requests("DELETE")).toHaveLength(1);
  });

  it("another destination", async () => {
    world.overrides.set("POST /dial", () => refusal(403, "token_destination_mismatch"));
    const rtc = new RevDeskRTC({ token: TOKEN });
    expect(await codeOf(rtc.dial("+13035550199"))).toBe("token_destination_mismatch");
    expect(rtc.state).toBe("ready");
  });

  it("a dial whose answer is lost is repeated", async () => {
    const rtc = new RevDeskRTC({ token: TOKEN });
    await rtc.connect();
    world.overrides.set("POST /dial", () => {
      world.overrides.clear();
      throw new TypeError("connection reset");
    });
    const dialled = rtc.dial();
    await settle();
    await pass(250);
    await dialled;
    expect(world.requests("POST", "/dial")).toHaveLength(2);
  });

  it("arguments are judged before anything happens", async () => {
    const code = (make: () => unknown): string => {
      try {
        make();
      } catch (error) {
        return (error as RevDeskError).code;
      }
      return "none";
    };
    expect(code(() => new RevDeskRTC({ token: "rvk_an-api-key" }))).toBe("api_key_in_browser");
    for (const token of ["", "hello", "rvw_", "rvw_a b", "rvw_a\r\nX: y"]) expect(code(() => new RevDeskRTC({ token }))).toBe("invalid_argument");
    for (const url of ["calls.example", "ftp://calls.example", "https://u:p@calls.example", `${ORIGIN}/?token=${TOKEN}`, `${ORIGIN}/#${TOKEN}`]) {
      expect(code(() => new RevDeskRTC({ token: TOKEN, url }))).toBe("invalid_argument");
      expect(code(() => new RevDeskRoom({ token: TOKEN, roomUrl: url }))).toBe("invalid_argument");
    }
    for (const to of ["", "13035550123", "+0123", "+1303555012345678", "+1303 5550123"]) {
      expect(await codeOf(new RevDeskRTC({ token: TOKEN }).dial(to))).toBe("invalid_argument");
    }
    expect(code(() => new RevDeskRTC({ token: TOKEN }).sendDigits("1"))).toBe("invalid_state");
    expect(world.asked).toEqual([]);
    await new RevDeskRTC({ token: TOKEN, url: `${ORIGIN}/below` }).connect();
    expect(world.asked[0]?.url).toBe(`${ORIGIN}/below/v1/webrtc/connections`);
  });

  it("every code has its sentence", () => {
    expect(ERROR_CODES.length).toBeGreaterThan(20);
    for (const code of ERROR_CODES) expect(new RevDeskError(code).message).toMatch(/^[A-Z].{20,}\.$/);
  });
});

describe("while connected", () => {
  it("mute silences the track, and stays over a change of the device", async () => {
    const rtc = new RevDeskRTC({ token: TOKEN });
    rtc.mute();
    await rtc.connect();
    const [first] = world.captured;
    expect(first?.enabled).toBe(false);
    await rtc.setInputDevice("headset");
    const second = world.captured[1] as Track;
    expect([second.device, second.enabled, first?.readyState]).toEqual(["headset", false, "ended"]);
    expect(PeerConnection.last.sender.track).toBe(second);
    rtc.unmute();
    expect(second.enabled).toBe(true);
    expect(rtc.muted).toBe(false);
  });

  it("a device that cannot be opened leaves the one in use", async () => {
    const rtc = new RevDeskRTC({ token: TOKEN });
    await rtc.connect();
    world.microphone = "OverconstrainedError";
    expect(await codeOf(rtc.setInputDevice("none"))).toBe("microphone_missing");
    expect(world.captured[0]?.readyState).toBe("live");
    expect(PeerConnection.last.sender.track).toBe(world.captured[0]);
  });

  it("an unplugged device is replaced by the default one, or reported", async () => {
    const rtc = new RevDeskRTC({ token: TOKEN });
    const told = record(rtc);
    await rtc.setInputDevice("headset");
    await rtc.connect();
    world.captured[0]?.onended?.();
    await settle();
    expect(world.captured.map(({ device }) => device)).toEqual(["headset", "default"]);
    expect(PeerConnection.last.sender.track).toBe(world.captured[1]);
    world.microphone = "NotFoundError";
    world.captured[1]?.onended?.();
    await settle();
    expect(told).toEqual(["connecting", "error:microphone_missing"]);
    expect(rtc.state).toBe("ready");
  });

  it("keys queue behind those that still play", async () => {
    const rtc = new RevDeskRTC({ token: TOKEN });
    await rtc.connect();
    rtc.sendDigits("12#");
    rtc.sendDigits("a,*");
    expect(PeerConnection.last.sender.dtmf.toneBuffer).toBe("12#a,*");
    for (const digits of ["", "x", "1 2", "1".repeat(65)]) expect(() => rtc.sendDigits(digits)).toThrow(/Digits/);
    PeerConnection.last.sender.dtmf.canInsertDTMF = false;
    expect(() => rtc.sendDigits("1")).toThrow(RevDeskError);
  });

  it("a listener that throws disturbs nobody else", async () => {
    const faults: unknown[] = [];
    const catcher = (fault: unknown): void => void faults.push(fault);
    process.on("uncaughtException", catcher);
    const rtc = new RevDeskRTC({ token: TOKEN });
    const off = rtc.on("connecting", () => {
      throw new Error("in the page");
    });
    const told = record(rtc);
    await rtc.connect();
    await settle();
    process.off("uncaughtException", catcher);
    expect(told).toEqual(["connecting"]);
    expect(faults).toHaveLength(1);
    off();
  });

  it("the server's end ends everything, once", async () => {
    const rtc = new RevDeskRTC({ token: TOKEN });
    const ends: unknown[] = [];
    rtc.on("disconnect", (end) => ends.push(end));
    await rtc.connect();
    world.tell("state", { state: "ended", call_id: "call_1", reason: "destination_busy", ended_by: "destination", status: "busy" });
    await settle();
    world.tell("state", { state: "ended", call_id: "call_1", reason: "hangup" });
    await rtc.hangup();
    await settle();
    expect(ends).toEqual([{ reason: "destination_busy", endedBy: "destination", status: "busy", callId: "call_1" }]);
    expect(world.requests("DELETE")).toEqual([]);
    expect([world.captured[0]?.readyState, PeerConnection.last.connectionState, world.listeners, world.storage.size]).toEqual(["ended", "closed", 0, 0]);
    expect(await codeOf(rtc.connect())).toBe("invalid_state");
  });

  it("events that are none do no harm", async () => {
    const rtc = new RevDeskRTC({ token: TOKEN });
    const told = record(rtc);
    await rtc.connect();
    world.tell("state", "{");
    world.tell("state", "null");
    world.tell("state", { state: "no-such-state" });
    world.tell("news", { x: 1 });
    world.tell("peer", "[]");
    world.raw(": comment\n\n");
    world.tell("state", { state: "answered", call_id: "call_1" });
    world.tell("state", { state: "ringing", call_id: "call_1" });
    await settle();
    expect(told).toEqual(["connecting", "accept"]);
    expect(rtc.state).toBe("answered");
  });
});
