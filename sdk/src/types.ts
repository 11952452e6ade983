/** What a leg takes and tells. */

import type { RevDeskError } from "./errors.js";
import type { Quality } from "./stats.js";
import type { Warning } from "./watch.js";

export interface LegOptions {
  /** `rvw_…`, from your own server. Never an API key. */
  token: string;
  /** Where the other party is heard. One is made when none is given. */
  audio?: HTMLAudioElement;
  /** Of the microphone; echo cancellation, noise suppression and gain control are on unless this says otherwise. */
  constraints?: MediaTrackConstraints;
  /** STUN and TURN servers beside those that the server names. */
  iceServers?: RTCIceServer[];
  /** `relay`: only through a TURN server. */
  iceTransportPolicy?: RTCIceTransportPolicy;
  /** Whether the call survives a reload of the page (sessionStorage). Default true. */
  surviveReload?: boolean;
  /** How long the server keeps the call without this browser: `[webrtc] grace_seconds`. Default 30. */
  graceSeconds?: number;
}

/**
 * ```text
 * idle → connecting → ready → ringing → early_media → answered
 *   ↑________|          |________|__________|____________|──→ ended
 * ```
 * Back to `idle` only when nothing has reached the server, so that `connect()` can be tried again.
 */
export type LegState = "idle" | "connecting" | "ready" | "ringing" | "early_media" | "answered" | "ended";

export interface Disconnect {
  /**
   * The server's `end_reason` (`hangup`, `destination_busy`, `max_duration`, …), or what only the browser knows:
   * `connection_failed` (no audio path ever stood) and `connection_lost` (it could not be restored in time).
   */
  reason: string;
  endedBy?: string | undefined;
  /** The call's terminal status: `completed`, `no_answer`, `busy`, … */
  status?: string | undefined;
  callId?: string | undefined;
}

export interface LegEvents {
  /** `connect()` has begun. */
  connecting: Record<string, never>;
  /** The destination rings; again with `earlyMedia` when its own sounds are heard. */
  ringing: { earlyMedia: boolean; callId?: string | undefined };
  /** The destination has answered. */
  accept: { callId?: string | undefined };
  /** The audio path is gone and is being restored; the call goes on. */
  reconnecting: { reason: "media" | "network" | "server" | "page" };
  reconnected: Record<string, never>;
  warning: Warning;
  /** The server's measurement, every 5 s. */
  quality: Quality;
  /** The call is over. Told exactly once. */
  disconnect: Disconnect;
  error: RevDeskError;
}
