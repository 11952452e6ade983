/**
 * The world around the SDK: a browser and a server, replaced at their boundary only. What the SDK parses, it parses from
 * real `Response`s and real streams; the server keeps the contract (tokens good for once, secrets, grace).
 */

import { afterEach, beforeEach, vi } from "vitest";

export const TOKEN = "rvw_a-token-that-names-one-call-0123456789";
export const SECRET = "rvr_a-secret-for-this-connection-0123456789";
export const ORIGIN = "https://calls.example";
export const ROOM_URL = `${ORIGIN}/v1/rooms/room_1`;
const LOCATION = "/v1/webrtc/connections/conn_01";

export class Track {
  kind = "audio";
  enabled = true;
  readyState = "live";
  onended: (() => void) | null = null;
  constructor(readonly device: string) {}
  stop(): void {
    this.readyState = "ended";
  }
}

class Stream {
  constructor(readonly tracks: Track[] = []) {}
  getAudioTracks(): Track[] {
    return this.tracks;
  }
}

export class PeerConnection {
  static all: PeerConnection[] = [];
  static get last(): PeerConnection {
    return PeerConnection.all.at(-1) as PeerConnection;
  }

  connectionState = "new";
  localDescription: { sdp: string } | null = null;
  remote: string[] = [];
  restarts = 0;
  report = new Map<string, Record<string, unknown>>();
  onconnectionstatechange: (() => void) | null = null;
  ontrack: ((event: unknown) => void) | null = null;
  played = "";
  preferred: { mimeType: string; clockRate: number }[] = [];
  readonly sender = {
    track: undefined as Track | undefined,
    replaceTrack: async (track: Track): Promise<void> => void (this.sender.track = track),
    dtmf: { canInsertDTMF: true, toneBuffer: "", insertDTMF: (keys: string): void => void (this.sender.dtmf.toneBuffer = keys) },
  };

  constructor(public configuration: RTCConfiguration) {
    PeerConnection.all.push(this);
  }
  addTransceiver(track: Track | string): unknown {
    if (typeof track !== "string") this.sender.track = track;
    return { sender: this.sender, setCodecPreferences: (codecs: typeof this.preferred) => (this.preferred = codecs) };
  }
  getConfiguration(): RTCConfiguration {
    return this.configuration;
  }
  setConfiguration(configuration: RTCConfiguration): void {
    this.configuration = configuration;
  }
  async createOffer({ iceRestart }: { iceRestart: boolean }): Promise<{ sdp: string }> {
    if (this.connectionState === "closed") throw new DOMException("closed", "InvalidStateError");
    if (iceRestart) this.restarts++;
    const own = PeerConnection.all.indexOf(this);
    return { sdp: `v=0\r\na=fingerprint:sha-256 ${own}\r\na=ice-ufrag:u${own}.${this.restarts}\r\n` };
  }
  async setLocalDescription(description: { sdp: string }): Promise<void> {
    this.localDescription = description;
  }
  async setRemoteDescription({ sdp }: { sdp: string }): Promise<void> {
    if (this.connectionState === "closed") throw new DOMException("closed", "InvalidStateError");
    if (!sdp.includes("m=audio")) throw new DOMException("no audio line", "OperationError");
    this.remote.push(sdp);
    if (world.pathOpens(this)) queueMicrotask(() => this.become("connected"));
  }
  async getStats(): Promise<typeof this.report> {
    return this.report;
  }
  close(): void {
    this.connectionState = "closed";
  }
  /** What the network makes of it. */
  become(state: string): void {
    if (this.connectionState === "closed") return;
    this.connectionState = state;
    this.onconnectionstatechange?.();
  }
  hear(): void {
    this.ontrack?.({ track: new Track("far"), streams: [new Stream()] });
  }
}

export interface Asked {
  method: string;
  path: string;
  url: string;
  bearer: string;
  body: string;
  headers: Headers;
  init: RequestInit;
}

/** Taken before any test makes time its own. */
const realTimeout = globalThis.setTimeout;

type Answer = Response | Promise<Response>;

/** The server's side of the contract, with the knobs that a test turns. */
export class World {
  asked: Asked[] = [];
  tokenUsed = false;
  gone = false;
  offline = false;
  pathOpens: (peer: PeerConnection) => boolean = () => true;
  link = "";
  location = LOCATION;
  /** Takes the place of the next answers, by `METHOD path`. */
  overrides = new Map<string, (asked: Asked) => Answer>();
  /** Denies the microphone by this name. */
  microphone: string | undefined;
  captured: Track[] = [];
  storage = new Map<string, string>();
  page = new EventTarget();
  network = Object.assign(new EventTarget(), { type: "wifi" });
  audio: { srcObject: unknown; autoplay: boolean; play: () => Promise<void> }[] = [];
  #streams: ReadableStreamDefaultController<Uint8Array>[] = [];

  requests(method: string, path?: string): Asked[] {
    return this.asked.filter((each) => each.method === method && (path === undefined || each.path === path));
  }

  /** Sends an event to whoever listens. */
  tell(name: string, data: unknown, id = ""): void {
    this.raw(`${id && `id: ${id}\n`}event: ${name}\ndata: ${typeof data === "string" ? data : JSON.stringify(data)}\n\n`);
  }
  raw(text: string): void {
    for (const stream of this.#streams) stream.enqueue(new TextEncoder().encode(text));
  }
  get listeners(): number {
    return this.#streams.length;
  }
  cutStreams(): void {
    for (const stream of this.#streams.splice(0)) stream.error(new TypeError("network changed"));
  }

  fetch = async (url: string, init: RequestInit): Promise<Response> => {
    const headers = new Headers(init.headers);
    const asked: Asked = {
      method: init.method ?? "GET",
      path: new URL(url).pathname.replace(LOCATION, ""),
      url,
      bearer: headers.get("Authorization")?.replace("Bearer ", "") ?? "",
      body: String(init.body ?? ""),
      headers,
      init,
    };
    this.asked.push(asked);
    if (this.offline) throw new TypeError("Failed to fetch");
    const cut = new Promise<never>((_, reject) => {
      init.signal?.addEventListener("abort", () => reject(new DOMException("aborted", "AbortError")));
    });
    cut.catch(() => undefined);
    const override = this.overrides.get(`${asked.method} ${asked.path}`);
    return Promise.race([override ? override(asked) : this.#answer(asked), cut]);
  };

  #answer(asked: Asked): Response {
    if (asked.bearer === TOKEN) return this.open();
    if (this.gone) return refusal(404, "not_found");
    if (asked.bearer !== SECRET) return refusal(401, "token_invalid");
    if (asked.method === "PATCH") return new Response(sdp(), { headers: { "Content-Type": "application/sdp" } });
    if (asked.method === "DELETE") {
      this.gone = true;
      return new Response(null, { status: 204 });
    }
    if (asked.path === "/dial") return Response.json({ data: { call_id: "call_1", status: "queued" } }, { status: 202 });
    const { signal } = asked.init;
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.#streams.push(controller);
        signal?.addEventListener("abort", () => {
          if (!this.#streams.includes(controller)) return;
          this.#streams = this.#streams.filter((each) => each !== controller);
          controller.error(new DOMException("aborted", "AbortError"));
        });
      },
    });
    return new Response(body, { headers: { "Content-Type": "text/event-stream" } });
  }

  open(): Response {
    if (this.tokenUsed) return refusal(409, "token_used");
    this.tokenUsed = true;
    return new Response(sdp(), {
      status: 201,
      headers: { "Content-Type": "application/sdp", Location: this.location, "Revbridge-Reconnect": SECRET, ...(this.link && { Link: this.link }) },
    });
  }

  #locks = new Map<string, Promise<unknown>>();

  /** As the browser's: one holds it, the others wait in line. */
  async lock(key: string, { signal }: { signal: AbortSignal }, hold: () => Promise<unknown>): Promise<unknown> {
    for (let holder = this.#locks.get(key); holder; holder = this.#locks.get(key)) {
      await Promise.race([holder, new Promise((resolve) => signal.addEventListener("abort", resolve))]);
      if (signal.aborted) throw new DOMException("aborted", "AbortError");
    }
    const held = hold().finally(() => this.#locks.delete(key));
    this.#locks.set(key, held);
    return held;
  }

  /** The page is loaded again: all is gone but the storage and the server. */
  reload(): void {
    for (const peer of PeerConnection.all) peer.close();
    this.page = new EventTarget();
    this.#streams = [];
    this.#locks.clear();
    vi.stubGlobal("addEventListener", this.page.addEventListener.bind(this.page));
  }
}

export function sdp(): string {
  return "v=0\r\nm=audio 7000 UDP/TLS/RTP/SAVPF 0 101\r\n";
}

export function refusal(status: number, code: string, more: Record<string, unknown> = {}, headers: Record<string, string> = {}): Response {
  return Response.json({ error: { code, message: "the server's own words", ...more } }, { status, headers: { "X-Request-Id": "req_1", ...headers } });
}

/** A promise that the test decides. */
export function gate<T>(): { promise: Promise<T>; open: (value: T) => void } {
  let open: (value: T) => void = () => undefined;
  const promise = new Promise<T>((resolve) => (open = resolve));
  return { promise, open };
}

export let world: World;

/** Lets everything happen that needs no time. */
export async function settle(): Promise<void> {
  // Real time: hashing happens on another thread.
  for (let turn = 0; turn < 4; turn++) await new Promise((resolve) => realTimeout(resolve, 1));
}

/** Lets `ms` pass, in steps small enough for what follows from one timer to set the next. */
export async function pass(ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 250) {
    await vi.advanceTimersByTimeAsync(Math.min(left, 250));
    await settle();
  }
}

/** Every event of a leg, as `name` or `name:detail`, in order. */
export function record(leg: { on: (name: never, listener: (event: never) => void) => unknown }): string[] {
  const told: string[] = [];
  for (const name of ["connecting", "ringing", "accept", "reconnecting", "reconnected", "warning", "quality", "disconnect", "error"]) {
    leg.on(name as never, (event: Record<string, unknown>) => {
      const detail = event.code ?? event.reason ?? event.name ?? (event.earlyMedia ? "early" : undefined);
      told.push(typeof detail === "string" ? `${name}:${detail}` : name);
    });
  }
  return told;
}

/** Resolves to the code of the error that `promise` rejects with. */
export function codeOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => "none",
    (error: { code?: string }) => error.code ?? String(error),
  );
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "Date"] });
  world = new World();
  PeerConnection.all = [];
  vi.stubGlobal("fetch", (url: string, init: RequestInit) => world.fetch(url, init));
  vi.stubGlobal("RTCPeerConnection", PeerConnection);
  vi.stubGlobal("RTCRtpReceiver", {
    getCapabilities: () => ({
      codecs: [
        { mimeType: "audio/opus", clockRate: 48_000 },
        { mimeType: "audio/PCMU", clockRate: 8_000 },
        { mimeType: "audio/PCMA", clockRate: 8_000 },
        { mimeType: "audio/telephone-event", clockRate: 48_000 },
        { mimeType: "audio/telephone-event", clockRate: 8_000 },
      ],
    }),
  });
  vi.stubGlobal("MediaStream", Stream);
  vi.stubGlobal("location", { origin: ORIGIN });
  vi.stubGlobal("isSecureContext", true);
  vi.stubGlobal("addEventListener", world.page.addEventListener.bind(world.page));
  vi.stubGlobal("sessionStorage", {
    getItem: (key: string) => world.storage.get(key) ?? null,
    setItem: (key: string, value: string) => world.storage.set(key, value),
    removeItem: (key: string) => world.storage.delete(key),
  });
  vi.stubGlobal("navigator", {
    connection: world.network,
    locks: { request: (...asked: Parameters<World["lock"]>) => world.lock(...asked) },
    mediaDevices: {
      getUserMedia: async ({ audio }: { audio: { deviceId?: { exact: string } } }) => {
        if (world.microphone) throw new DOMException("no", world.microphone);
        const track = new Track(audio.deviceId?.exact ?? "default");
        world.captured.push(track);
        return new Stream([track]);
      },
    },
  });
  vi.stubGlobal(
    "Audio",
    class {
      srcObject: unknown = null;
      autoplay = false;
      constructor() {
        world.audio.push(this);
      }
      async play(): Promise<void> {}
    },
  );
});

afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});
