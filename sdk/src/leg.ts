/**
 * One browser leg, from `connect()` to `disconnect`.
 *
 * ```text
 * connect() ─ microphone ─ POST offer ─ answer ─ audio path stands ─→ up
 *                                                     │ nothing after 3 s and there is TURN: PATCH
 *    up ── disconnected, failed, network changed ─→ lost ── PATCH … path stands ──→ up
 *    page reloaded ─────────────────────────────────↑ └─ 404, or grace over ──→ ended
 * ```
 *
 * Whatever is awaited may come back after `hangup()`: each step asks `#alive()` before it goes on.
 * Deliberately absent: a hang-up when the page goes away. The server's grace time tells a reload from a closed tab.
 */

import { Emitter } from "./emitter.js";
import { invalid, RevDeskError, toError } from "./errors.js";
import { Memory } from "./memory.js";
import { Microphone } from "./microphone.js";
import { attend } from "./page.js";
import { Peer } from "./peer.js";
import { isGone, Signalling } from "./signalling.js";
import { sleep } from "./sleep.js";
import type { ServerEvent } from "./sse.js";
import { type LegStats, type Quality, readStats } from "./stats.js";
import type { Disconnect, LegEvents, LegOptions, LegState } from "./types.js";
import { Watch, WATCH_MS } from "./watch.js";

/** How long a first path may take. */
const CONNECT_MS = 15_000;
/** How long the direct path may take when there is another through TURN. */
const DIRECT_MS = 3_000;
/** How long one attempt to restore the path may take. */
const RESTORE_MS = 5_000;
/** What the server needs to notice the loss, before its grace time begins. */
const NOTICE_MS = 15_000;
/** The server's word that it does not hear us counts when we have not noticed ourselves by then. */
const DOUBT_MS = 1_000;
const SLOWEST_RETRY_MS = 2_000;

const STATES: LegState[] = ["idle", "connecting", "ready", "ringing", "early_media", "answered", "ended"];

export abstract class Leg extends Emitter<LegEvents> {
  /** Where the other party is heard. */
  readonly audio: HTMLAudioElement;
  readonly #options: LegOptions;
  readonly #microphone: Microphone;
  readonly #signalling: Signalling;
  #memory: Memory | undefined;
  #peer: Peer | undefined;
  #state: LegState = "idle";
  #link: "none" | "up" | "lost" = "none";
  #callId: string | undefined;
  #quality: Quality | undefined;
  #connecting: Promise<void> | undefined;
  #hurry = new AbortController();
  #doubt: ReturnType<typeof setTimeout> | undefined;
  #watching: ReturnType<typeof setInterval> | undefined;
  #away = false;
  readonly #over = new AbortController();

  protected constructor(options: LegOptions, endpoint: string) {
    super();
    if (/^rvk_/.test(options.token)) throw new RevDeskError("api_key_in_browser");
    if (!/^rvw_[\x21-\x7e]+$/.test(options.token)) throw invalid("A token begins with rvw_.");
    this.#options = options;
    this.#signalling = new Signalling(endpoint, options.token, this.#over.signal);
    this.#microphone = new Microphone(
      { echoCancellation: true, noiseSuppression: true, autoGainControl: true, ...options.constraints },
      () => void this.#openAnother(),
    );
    this.audio = options.audio ?? new Audio();
    this.audio.autoplay = true;
  }

  get state(): LegState {
    return this.#state;
  }

  /** Known once the server has told of the call. */
  get callId(): string | undefined {
    return this.#callId;
  }

  get muted(): boolean {
    return this.#microphone.muted;
  }

  /** Whether the audio path is being restored. */
  get reconnecting(): boolean {
    return this.#link === "lost";
  }

  /**
   * Opens the microphone and the audio path; resolves when it stands. After a reload, with the same token, it
   * takes the call up again. Called twice, it connects once.
   */
  connect(): Promise<void> {
    if (this.#state === "ended") return Promise.reject(new RevDeskError("invalid_state"));
    return (this.#connecting ??= this.#connect().catch((cause: unknown) => {
      this.#connecting = undefined;
      if (this.#state === "ended") {
        this.#release();
        throw new RevDeskError("canceled", { cause });
      }
      const error = toError(cause);
      this.emit("error", error);
      if (this.#signalling.place) this.#fail(this.#link === "lost" ? "connection_lost" : "connection_failed");
      else this.#rest();
      throw error;
    }));
  }

  /** The other party hears silence; the path stays open. */
  mute(): void {
    this.#mute(true);
  }

  unmute(): void {
    this.#mute(false);
  }

  /** Presses keys: `0`-`9`, `*`, `#`, `A`-`D`, and `,` for a pause of 2 s. Repeated calls queue. */
  sendDigits(digits: string): void {
    if (!/^[0-9A-D*#,]{1,64}$/i.test(digits)) throw invalid("Digits are 1 to 64 of 0-9, *, #, A-D and a comma.");
    if (!this.#peer || this.#state === "ended") throw new RevDeskError("invalid_state");
    this.#peer.keys(digits);
  }

  /** Ends the call for both parties. Resolves when the server knows; `disconnect` is told at once. */
  async hangup(): Promise<void> {
    const reason = this.#state === "answered" ? "hangup" : "user_hangup";
    const connecting = this.#connecting;
    await this.#end({ reason, endedBy: "user" });
    // An offer that is under way may still open the leg; then `#connect` ends it.
    await connecting?.catch(() => undefined);
  }

  /** Takes another microphone, now and after a reload. `"default"` is the system's choice. */
  async setInputDevice(deviceId: string): Promise<void> {
    const before = this.#microphone.device;
    this.#microphone.device = deviceId === "default" ? undefined : deviceId;
    try {
      if (this.#state !== "idle" && this.#state !== "ended") await this.#openMicrophone();
    } catch (error) {
      this.#microphone.device = before;
      throw error;
    }
    this.#remember();
  }

  async getStats(): Promise<LegStats> {
    return readStats(await this.#peer?.stats(), this.#quality);
  }

  /** Starts the sound, where the browser wants a click first (`playback_blocked`). */
  async play(): Promise<void> {
    try {
      await this.audio.play();
    } catch (cause) {
      // A new stream in place of the old one interrupts, and plays itself.
      if ((cause as DOMException | undefined)?.name === "AbortError") return;
      throw new RevDeskError("playback_blocked", { cause });
    }
  }

  /** Asks the server to ring the destination. */
  protected async ask(toNumber: string | undefined): Promise<void> {
    await this.connect();
    await this.#signalling.dial(toNumber);
  }

  async #connect(): Promise<void> {
    this.#advance("connecting");
    this.emit("connecting", {});
    this.#memory = await Memory.of(this.#options.token, this.#options.surviveReload ?? true);
    this.#alive();
    const { kept } = this.#memory;
    if (kept) {
      this.#signalling.place = kept;
      this.#microphone.muted ||= kept.muted;
      this.#microphone.device ??= kept.device;
      await this.#resume();
    } else {
      await this.#join();
    }
    this.#advance("ready");
    this.#watch();
    this.#up();
  }

  async #join(): Promise<void> {
    await this.#microphone.open();
    this.#alive();
    const peer = this.#newPeer();
    const answer = await this.#signalling.open(await peer.offer());
    if (this.#state === "ended") await this.#signalling.hangup();
    this.#alive();
    this.#remember();
    this.#follow();
    await peer.accept(answer);
    const direct = this.#options.iceTransportPolicy === "relay" ? 0 : DIRECT_MS;
    const turn = this.#signalling.place?.iceServers.length;
    let stands = await peer.stands(turn ? direct : CONNECT_MS);
    this.#alive();
    if (!stands && turn) {
      await this.#reoffer(peer);
      stands = await peer.stands(CONNECT_MS - direct);
      this.#alive();
    }
    if (!stands) throw new RevDeskError("network_blocked");
  }

  /** After a reload. The path first: the browser may ask for the microphone again, and that takes the person's time. */
  async #resume(): Promise<void> {
    this.#link = "lost";
    this.emit("reconnecting", { reason: "page" });
    this.#follow();
    this.#openMicrophone().catch(this.#tell);
    await this.#restore();
  }

  /** Restores the path while the call goes on. One at a time; a change of the network hurries the one that runs. */
  #recover(reason: LegEvents["reconnecting"]["reason"]): void {
    if (this.#away) return;
    if (this.#link === "lost" && reason === "network") this.#hurry.abort();
    if (this.#link !== "up") return;
    this.#link = "lost";
    this.emit("reconnecting", { reason });
    this.#restore().then(
      () => this.#up(),
      (error: unknown) => {
        this.#tell(error);
        this.#fail("connection_lost");
      },
    );
  }

  #up(): void {
    const lost = this.#link === "lost";
    this.#link = "up";
    clearTimeout(this.#doubt);
    if (lost) this.emit("reconnected", {});
    // It may have gone again while this was on its way here.
    if (this.#peer?.state !== "connected") this.#recover("media");
  }

  async #restore(): Promise<void> {
    const end = Date.now() + (this.#options.graceSeconds ?? 30) * 1_000 + NOTICE_MS;
    let pause = 250;
    for (let attempt = 0; ; attempt++) {
      this.#hurry = new AbortController();
      const { signal } = this.#hurry;
      let fault = new RevDeskError("network_blocked");
      try {
        // Where a restart of ICE did not help, a new peer may (DTLS failed, say), and the other way round.
        const peer = !this.#peer || attempt % 2 ? this.#newPeer() : this.#peer;
        await this.#reoffer(peer, signal);
        if (await peer.stands(RESTORE_MS, signal)) return this.#alive();
      } catch (cause) {
        fault = toError(cause);
      }
      this.#alive();
      if (isGone(fault)) throw new RevDeskError("call_gone", { cause: fault });
      if (Date.now() >= end) throw fault;
      await sleep(Math.max(pause, (fault.retryAfterSeconds ?? 0) * 1_000), signal);
      this.#alive();
      pause = signal.aborted ? 250 : Math.min(pause * 2, SLOWEST_RETRY_MS);
    }
  }

  async #reoffer(peer: Peer, hurry?: AbortSignal): Promise<void> {
    const answer = await this.#signalling.reoffer(await peer.offer(this.#configuration()), hurry);
    this.#alive();
    await peer.accept(answer);
    this.#remember();
  }

  #configuration(): RTCConfiguration {
    const { iceServers = [], iceTransportPolicy = "all" } = this.#options;
    return { iceServers: [...iceServers, ...(this.#signalling.place?.iceServers ?? [])], iceTransportPolicy };
  }

  #newPeer(): Peer {
    this.#peer?.close();
    return (this.#peer = new Peer(this.#configuration(), this.#microphone.track, {
      state: (state) => {
        if (state === "disconnected" || state === "failed" || state === "closed") this.#recover("media");
      },
      audio: (stream) => {
        this.audio.srcObject = stream;
        this.play().catch(this.#tell);
      },
    }));
  }

  #follow(): void {
    const page = {
      changed: () => this.#recover("network"),
      // Its requests go down with it: nothing to mend, unless it comes back.
      away: () => (this.#away = true),
      back: () => {
        this.#away = false;
        if (this.#peer?.state !== "connected") this.#recover("page");
      },
    };
    attend(page, this.#over.signal);
    void this.#signalling.follow((event) => this.#hear(event)).then(() => {
      if (this.#link === "up") this.#fail("connection_lost");
    });
  }

  #hear({ name, data }: ServerEvent): void {
    if (this.#state === "ended") return;
    const told: unknown = JSON.parse(data);
    if (name === "state") this.#hearState(told as Record<string, string>);
    else if (name === "peer") this.#hearPeer((told as { connected: boolean }).connected);
    else if (name === "quality") this.emit("quality", (this.#quality = told as Quality));
  }

  #hearState({ state, call_id, reason = "hangup", ended_by: endedBy, status }: Record<string, string>): void {
    this.#callId = call_id ?? this.#callId;
    if (state === "ended") {
      this.#signalling.place = undefined;
      this.#finish({ reason, endedBy, status });
    } else if (this.#advance(state as LegState)) {
      if (state === "answered") this.emit("accept", { callId: this.#callId });
      else if (state !== "ready") this.emit("ringing", { earlyMedia: state === "early_media", callId: this.#callId });
    }
  }

  /** Events may be old ones told again: what counts is what the server thinks a moment later. */
  #hearPeer(connected: boolean): void {
    clearTimeout(this.#doubt);
    if (!connected) this.#doubt = setTimeout(() => this.#recover("server"), DOUBT_MS);
  }

  /** Moves forward only; says whether it did. */
  #advance(state: LegState): boolean {
    const forward = STATES.indexOf(state) > STATES.indexOf(this.#state);
    if (forward) this.#state = state;
    return forward;
  }

  async #openMicrophone(): Promise<void> {
    const track = await this.#microphone.open();
    await this.#peer?.send(track);
  }

  /** The microphone in use was unplugged. */
  async #openAnother(): Promise<void> {
    this.#microphone.device = undefined;
    await this.#openMicrophone().catch(this.#tell);
  }

  #mute(muted: boolean): void {
    this.#microphone.muted = muted;
    this.#remember();
  }

  #remember(): void {
    const { place } = this.#signalling;
    if (place && this.#state !== "ended") this.#memory?.write({ ...place, muted: this.muted, device: this.#microphone.device });
  }

  #watch(): void {
    const watch = new Watch();
    this.#watching = setInterval(() => {
      if (this.#link !== "up") return;
      void this.getStats().then((stats) => {
        if (this.#link !== "up") return;
        for (const warning of watch.look(stats, this.muted)) this.emit("warning", warning);
      });
    }, WATCH_MS);
  }

  /** An error that ends nothing. */
  readonly #tell = (cause: unknown): void => {
    const error = toError(cause);
    if (this.#state !== "ended" && error.code !== "canceled") this.emit("error", error);
  };

  #alive(): void {
    if (this.#state === "ended") throw new RevDeskError("canceled");
  }

  /** Ends the call here and on the server. */
  async #end(end: Disconnect): Promise<void> {
    this.#finish(end);
    await this.#signalling.hangup();
  }

  #fail(reason: string): void {
    // A server that cannot be told ends the call by its grace time.
    this.#end({ reason }).catch(() => undefined);
  }

  #finish(end: Disconnect): void {
    if (this.#state === "ended") return;
    const begun = this.#state !== "idle";
    this.#state = "ended";
    this.#link = "none";
    this.#release();
    if (begun) this.emit("disconnect", { ...end, callId: this.#callId });
  }

  /** Back to where `connect()` can be tried again. */
  #rest(): void {
    this.#state = "idle";
    this.#memory?.release();
    this.#microphone.close();
    this.#peer?.close();
    this.#peer = undefined;
  }

  #release(): void {
    clearInterval(this.#watching);
    clearTimeout(this.#doubt);
    this.#over.abort();
    this.#hurry.abort();
    this.#memory?.clear();
    this.#microphone.close();
    this.#peer?.close();
    this.audio.srcObject = null;
  }
}
