/** Looks at the figures every 2 s and says when the other party begins, or ceases, to have trouble hearing. */

import type { Flow, LegStats } from "./stats.js";

export const WATCH_MS = 2_000;

export type WarningName = "low-audio" | "loss" | "jitter";

export interface Warning {
  name: WarningName;
  /** `sent`: the other party hears this browser badly. `received`: this browser hears badly. */
  direction: "sent" | "received";
  /** False when the trouble is over. */
  active: boolean;
  /** Loudness 0 to 1, share lost 0 to 1, or milliseconds. */
  value: number;
}

interface Rule {
  name: WarningName;
  direction: Warning["direction"];
  bad(value: number): boolean;
  /** The value of one interval; undefined says nothing, neither good nor bad. */
  value(before: LegStats, now: LegStats, muted: boolean): number | undefined;
  /** How many intervals in a row begin the warning. */
  patience: number;
}

/** Above this share, G.711 without concealment becomes hard to follow. */
const LOSS = 0.03;
/** More than a usual jitter buffer holds. */
const JITTER_MS = 30;
/** A room with nobody speaking is louder (about -66 dB). */
const SILENT = 0.0005;

const RULES: Rule[] = [
  // Somebody who listens is silent too, but no real microphone is for 10 s.
  { name: "low-audio", direction: "sent", patience: 5, bad: (rms) => rms < SILENT, value: (a, b, muted) => (muted ? undefined : rms(a.sent, b.sent)) },
  ...(["sent", "received"] as const).flatMap((direction): Rule[] => [
    { name: "loss", direction, patience: 2, bad: (share) => share > LOSS, value: (a, b) => loss(a[direction], b[direction]) },
    { name: "jitter", direction, patience: 2, bad: (ms) => ms > JITTER_MS, value: (_, b) => (b[direction].packets > 0 ? b[direction].jitterMs : undefined) },
  ]),
];

/** The rules with what they have seen. One that warns needs as many good intervals to stop as bad ones to begin. */
export class Watch {
  #before: LegStats | undefined;
  readonly #seen = RULES.map(() => ({ active: false, row: 0 }));

  /** Takes the figures of now and returns the warnings that begin or end. */
  look(now: LegStats, muted: boolean): Warning[] {
    const before = this.#before;
    this.#before = now;
    if (!before) return [];
    const warnings: Warning[] = [];
    RULES.forEach((rule, at) => {
      const seen = this.#seen[at];
      const value = rule.value(before, now, muted);
      if (!seen || value === undefined) return;
      seen.row = rule.bad(value) === seen.active ? 0 : seen.row + 1;
      if (seen.row < rule.patience) return;
      seen.active = !seen.active;
      seen.row = 0;
      warnings.push({ name: rule.name, direction: rule.direction, active: seen.active, value });
    });
    return warnings;
  }
}

/** A new peer counts from zero again: then no time has passed, here, or no packet, below, and nothing is said. */
function rms(before: Flow, now: Flow): number | undefined {
  const { energy = 0, duration = 0 } = before;
  const passed = (now.duration ?? 0) - duration;
  return passed > 0 ? Math.sqrt(((now.energy ?? 0) - energy) / passed) : undefined;
}

function loss(before: Flow, now: Flow): number | undefined {
  const lost = Math.max(0, now.lost - before.lost);
  const packets = now.packets - before.packets;
  // Of a handful of packets no share can be told.
  return packets + lost >= 20 ? lost / (packets + lost) : undefined;
}
