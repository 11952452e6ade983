/** What `getStats()` says, read from the browser's own report. */

/** One direction of the audio, in counts since the path was made. */
export interface Flow {
  packets: number;
  lost: number;
  jitterMs: number;
  /** Loudness at this moment, 0 to 1, where the browser measures it. */
  level?: number;
  /** Sum of energy and of time (seconds), from which the loudness of any interval follows. */
  energy?: number;
  duration?: number;
}

/** The server's own measurement, every 5 s while the path stands. */
export interface Quality {
  /** What the server received from this browser. */
  received: { packets: number; lost: number; jitter_ms: number };
  /** What this browser reported of what the server sent. */
  sent: { packets: number; lost: number; jitter_ms: number };
  /** 1 (unusable) to 4.5 (as good as a telephone gets). */
  mos: number;
  rtt_ms: number;
}

export interface LegStats {
  /** What this browser sends. Loss and jitter are what the server reports of it. */
  sent: Flow;
  /** What this browser receives. */
  received: Flow;
  rttMs?: number;
  codec?: string;
  /** `udp` or `tcp`. */
  transport?: string;
  /** Whether the audio goes through a TURN server. */
  relayed: boolean;
  server?: Quality;
}

type Entry = Record<string, string | number | undefined>;

/** Reads whatever of it this browser has. */
export function readStats(report: RTCStatsReport | undefined, server: Quality | undefined): LegStats {
  const stats: LegStats = { sent: flow({}), received: flow({}), relayed: false, ...(server && { server }) };
  const entries: ReadonlyMap<unknown, Entry> = report ?? new Map();
  for (const entry of entries.values()) {
    if (entry.type === "inbound-rtp") {
      stats.received = flow(entry);
      const codec = entries.get(entry.codecId)?.mimeType;
      if (codec) stats.codec = String(codec).replace("audio/", "");
    } else if (entry.type === "outbound-rtp") {
      stats.sent.packets = Number(entry.packetsSent ?? 0);
    } else if (entry.type === "remote-inbound-rtp") {
      const { lost, jitterMs } = flow(entry);
      Object.assign(stats.sent, { lost, jitterMs });
    } else if (entry.type === "media-source") {
      Object.assign(stats.sent, loudness(entry));
    } else if (entry.type === "transport") {
      const pair = entries.get(entry.selectedCandidatePairId);
      const local = entries.get(pair?.localCandidateId);
      if (pair?.currentRoundTripTime !== undefined) stats.rttMs = Number(pair.currentRoundTripTime) * 1_000;
      if (local?.protocol) stats.transport = String(local.protocol);
      stats.relayed = local?.candidateType === "relay";
    }
  }
  return stats;
}

function flow(entry: Entry): Flow {
  const { packetsReceived = 0, packetsLost = 0, jitter = 0 } = entry;
  return { packets: Number(packetsReceived), lost: Number(packetsLost), jitterMs: Number(jitter) * 1_000, ...loudness(entry) };
}

function loudness({ audioLevel, totalAudioEnergy, totalSamplesDuration }: Entry): Partial<Flow> {
  if (audioLevel === undefined) return {};
  return { level: Number(audioLevel), energy: Number(totalAudioEnergy), duration: Number(totalSamplesDuration) };
}
