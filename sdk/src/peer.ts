/**
 * One `RTCPeerConnection` with one audio line, both ways.
 *
 * The server is ICE-lite: it learns the browser's addresses from its checks. So an offer leaves as soon
 * as it is written and no candidate is ever waited for or sent. A TURN server, which becomes known with the
 * answer, is used from the next offer on.
 */

import { RevDeskError } from "./errors.js";

export interface PeerListener {
  /** Called with each new state of the audio path. */
  state(state: RTCPeerConnectionState): void;
  /** Called with what the other party says. */
  audio(stream: MediaStream): void;
}

export class Peer {
  readonly #pc: RTCPeerConnection;
  readonly #sender: RTCRtpSender;
  #listener: PeerListener | undefined;
  #waiting = new Set<() => void>();

  constructor(configuration: RTCConfiguration, track: MediaStreamTrack | undefined, listener: PeerListener) {
    if (typeof RTCPeerConnection === "undefined") throw new RevDeskError("unsupported_browser");
    this.#listener = listener;
    this.#pc = new RTCPeerConnection(configuration);
    const line = this.#pc.addTransceiver(track ?? "audio", { direction: "sendrecv" });
    this.#sender = line.sender;
    preferTelephony(line);
    this.#pc.ontrack = ({ track: heard, streams }) => this.#listener?.audio(streams[0] ?? new MediaStream([heard]));
    this.#pc.onconnectionstatechange = () => {
      for (const wake of this.#waiting) wake();
      this.#listener?.state(this.state);
    };
  }

  get state(): RTCPeerConnectionState {
    return this.#pc.connectionState;
  }

  /** The offer to send. `restart` asks for new paths through `configuration`. */
  async offer(restart?: RTCConfiguration): Promise<string> {
    if (restart) this.#pc.setConfiguration({ ...this.#pc.getConfiguration(), ...restart });
    await this.#pc.setLocalDescription(await this.#pc.createOffer({ iceRestart: restart !== undefined }));
    return this.#pc.localDescription?.sdp ?? "";
  }

  async accept(sdp: string): Promise<void> {
    try {
      await this.#pc.setRemoteDescription({ type: "answer", sdp });
    } catch (cause) {
      throw new RevDeskError("server_error", { cause });
    }
  }

  /** Waits until the path stands (true), or has failed, `ms` are over or `hurry` fires (false). */
  stands(ms: number, hurry?: AbortSignal): Promise<boolean> {
    return new Promise((resolve) => {
      const look = (over: boolean): void => {
        const state = this.state;
        if (state !== "connected" && state !== "failed" && state !== "closed" && !over) return;
        clearTimeout(timer);
        this.#waiting.delete(wake);
        hurry?.removeEventListener("abort", stop);
        resolve(state === "connected");
      };
      const wake = (): void => look(false);
      const stop = (): void => look(true);
      const timer = setTimeout(stop, ms);
      this.#waiting.add(wake);
      hurry?.addEventListener("abort", stop);
      look(hurry?.aborted ?? false);
    });
  }

  send(track: MediaStreamTrack): Promise<void> {
    return this.#sender.replaceTrack(track);
  }

  /** Plays keys to the other party, after those that still wait. */
  keys(digits: string): void {
    const keypad = this.#sender.dtmf;
    if (!keypad?.canInsertDTMF) throw new RevDeskError("invalid_state");
    keypad.insertDTMF(keypad.toneBuffer + digits);
  }

  stats(): Promise<RTCStatsReport> {
    return this.#pc.getStats();
  }

  close(): void {
    this.#listener = undefined;
    this.#pc.close();
    // No event tells of an own close.
    for (const wake of this.#waiting) wake();
  }
}

/** Offers G.711 and keys only, where the browser lets us choose: nothing else is spoken on the other side. */
function preferTelephony(line: RTCRtpTransceiver): void {
  const all = globalThis.RTCRtpReceiver?.getCapabilities?.("audio")?.codecs ?? [];
  const ours = all.filter(({ mimeType, clockRate }) => /pcm[ua]|telephone/i.test(mimeType) && clockRate === 8_000);
  if (ours.length > 1) line.setCodecPreferences?.(ours);
}
