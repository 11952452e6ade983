import { describe, expect, it } from "vitest";
import { RevDeskRTC, type Warning } from "../src/index.js";
import { type LegStats, readStats } from "../src/stats.js";
import { Watch } from "../src/watch.js";
import { pass, PeerConnection, settle, TOKEN, world } from "./world.js";

const REPORT = new Map<string, Record<string, unknown>>([
  ["I", { type: "inbound-rtp", packetsReceived: 500, packetsLost: 3, jitter: 0.004, audioLevel: 0.2, totalAudioEnergy: 1, totalSamplesDuration: 10, codecId: "C" }],
  ["C", { type: "codec", mimeType: "audio/PCMU" }],
  ["O", { type: "outbound-rtp", packetsSent: 510 }],
  ["R", { type: "remote-inbound-rtp", packetsLost: 2, jitter: 0.001 }],
  ["S", { type: "media-source", audioLevel: 0.1, totalAudioEnergy: 2, totalSamplesDuration: 10 }],
  ["T", { type: "transport", selectedCandidatePairId: "P" }],
  ["P", { type: "candidate-pair", currentRoundTripTime: 0.02, localCandidateId: "L" }],
  ["L", { type: "local-candidate", candidateType: "relay", protocol: "udp" }],
]);

describe("getStats", () => {
  it("reads the browser's report", () => {
    expect(readStats(REPORT as unknown as RTCStatsReport, undefined)).toEqual({
      received: { packets: 500, lost: 3, jitterMs: 4, level: 0.2, energy: 1, duration: 10 },
      sent: { packets: 510, lost: 2, jitterMs: 1, level: 0.1, energy: 2, duration: 10 },
      rttMs: 20,
      codec: "PCMU",
      transport: "udp",
      relayed: true,
    });
  });

  it("is empty before there is anything", async () => {
    const empty = { received: { packets: 0, lost: 0, jitterMs: 0 }, sent: { packets: 0, lost: 0, jitterMs: 0 }, relayed: false };
    expect(await new RevDeskRTC({ token: TOKEN }).getStats()).toEqual(empty);
  });

  it("holds what the server measured", async () => {
    const rtc = new RevDeskRTC({ token: TOKEN });
    const heard: unknown[] = [];
    rtc.on("quality", (quality) => heard.push(quality));
    await rtc.connect();
    const quality = { received: { packets: 250, lost: 0, jitter_ms: 1 }, sent: { packets: 250, lost: 1, jitter_ms: 2 }, mos: 4.2, rtt_ms: 12 };
    world.tell("quality", quality);
    await settle();
    expect(heard).toEqual([quality]);
    expect((await rtc.getStats()).server).toEqual(quality);
  });
});

/** Figures after each interval, from what one interval brings. */
function run(intervals: { lost?: number; jitterMs?: number; rms?: number; muted?: boolean }[]): Warning[] {
  const watch = new Watch();
  const now: LegStats = readStats(undefined, undefined);
  now.sent.energy = now.sent.duration = 0;
  const warnings = watch.look(structuredClone(now), false);
  for (const { lost = 0, jitterMs = 2, rms = 0.05, muted = false } of intervals) {
    now.received.packets += 100 - lost;
    now.received.lost += lost;
    now.received.jitterMs = jitterMs;
    now.sent.packets += 100;
    now.sent.energy += rms * rms * 2;
    now.sent.duration += 2;
    warnings.push(...watch.look(structuredClone(now), muted));
  }
  return warnings;
}

const times = <T>(count: number, value: T): T[] => Array.from({ length: count }, () => value);

describe("warnings", () => {
  it("begin and end with loss", () => {
    expect(run([{ lost: 10 }])).toEqual([]);
    expect(run([{ lost: 10 }, {}, { lost: 10 }])).toEqual([]);
    const warnings = run([...times(4, { lost: 10 }), ...times(4, {})]);
    expect(warnings).toEqual([
      { name: "loss", direction: "received", active: true, value: 0.1 },
      { name: "loss", direction: "received", active: false, value: 0 },
    ]);
  });

  it("begin and end with jitter", () => {
    const warnings = run([...times(3, { jitterMs: 60 }), ...times(3, {})]);
    expect(warnings.map(({ name, active }) => [name, active])).toEqual([["jitter", true], ["jitter", false]]);
  });

  it("of low audio come from a dead microphone, not from a pause or from mute", () => {
    expect(run(times(4, { rms: 0 }))).toEqual([]);
    expect(run(times(20, { rms: 0, muted: true }))).toEqual([]);
    expect(run(times(20, { rms: 0.002 }))).toEqual([]);
    expect(run([...times(20, { rms: 0 }), ...times(5, {})]).map(({ name, active }) => [name, active])).toEqual([["low-audio", true], ["low-audio", false]]);
  });

  it("are not made of the counts of two peers", () => {
    const watch = new Watch();
    const figures = (packets: number, lost: number): LegStats => ({ sent: { packets, lost, jitterMs: 1 }, received: { packets, lost, jitterMs: 1 }, relayed: false });
    watch.look(figures(10_000, 0), false);
    for (let time = 0; time < 4; time++) {
      expect(watch.look(figures(50, 40), false)).toEqual([]);
      expect(watch.look(figures(10_000, 0), false)).toEqual([]);
    }
  });

  it("reach the page every 2 s, and not while the path is being restored", async () => {
    const rtc = new RevDeskRTC({ token: TOKEN });
    const warnings: Warning[] = [];
    rtc.on("warning", (warning) => warnings.push(warning));
    await rtc.connect();
    const peer = PeerConnection.last;
    let packets = 0;
    peer.getStats = async () => {
      packets += 100;
      return new Map([["R", { type: "remote-inbound-rtp", packetsLost: packets / 10, jitter: 0 }], ["O", { type: "outbound-rtp", packetsSent: packets }]]);
    };
    await pass(8_000);
    expect(warnings).toMatchObject([{ name: "loss", direction: "sent", active: true }]);
    await rtc.hangup();
    await pass(8_000);
    expect(warnings).toHaveLength(1);
  });
});
