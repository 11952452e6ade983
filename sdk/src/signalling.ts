/**
 * What the browser and the server say to each other over HTTP.
 *
 * ```text
 * POST   endpoint           Bearer rvw_…  offer → 201 answer, Location, Revbridge-Reconnect, Link
 * PATCH  Location           Bearer rvr_…  offer → 200 answer
 * POST   Location/dial      Bearer rvr_…
 * GET    Location/events    Bearer rvr_…  server-sent events
 * DELETE Location           Bearer rvr_…
 * ```
 *
 * Token and secret travel in the Authorization field only: never in a URL, never to another origin.
 */

import { type ErrorCode, type ErrorDetail, isErrorCode, RevDeskError } from "./errors.js";
import { iceServers } from "./link.js";
import { sleep } from "./sleep.js";
import { EventParser, type ServerEvent } from "./sse.js";

const REQUEST_MS = 10_000;
/** The server writes at least every 15 s. After this long without a byte the stream is dead. */
const SILENCE_MS = 40_000;
const SLOWEST_RETRY_MS = 5_000;
const SDP = "application/sdp";

/** Where a leg lives on the server, and what opens it. */
export interface Place {
  location: string;
  secret: string;
  iceServers: RTCIceServer[];
}

interface Ask {
  method: string;
  url: string;
  bearer: string;
  type?: string;
  body?: string;
  headers?: Record<string, string> | undefined;
  hurry?: AbortSignal | undefined;
  keepalive?: boolean;
}

export class Signalling {
  place: Place | undefined;
  readonly #endpoint: string;
  readonly #token: string;
  readonly #over: AbortSignal;

  /** `over` ends `follow`. */
  constructor(endpoint: string, token: string, over: AbortSignal) {
    this.#endpoint = endpoint;
    this.#token = token;
    this.#over = over;
  }

  /** Uses the token up and returns the answer. */
  async open(offer: string): Promise<string> {
    const { response, text } = await ask({ method: "POST", url: this.#endpoint, bearer: this.#token, type: SDP, body: offer });
    const location = response.headers.get("Location");
    const secret = response.headers.get("Revbridge-Reconnect");
    if (!location || !secret) throw unexpected(response, "no Location, or no Revbridge-Reconnect");
    const url = new URL(location, this.#endpoint);
    // The secret is for the server that gave it.
    if (url.origin !== new URL(this.#endpoint).origin) throw unexpected(response, "Location is on another origin");
    this.place = { location: url.href, secret, iceServers: iceServers(response.headers.get("Link")) };
    return answer(response, text);
  }

  /** ICE restart, or a new peer in place of the old one: the server tells by the fingerprint. */
  async reoffer(offer: string, hurry?: AbortSignal): Promise<string> {
    const { response, text } = await this.#ask("PATCH", "", { type: SDP, body: offer, hurry });
    const servers = iceServers(response.headers.get("Link"));
    if (servers.length > 0) this.#placed().iceServers = servers;
    return answer(response, text);
  }

  /** Repeating it is harmless, so a lost answer is asked for again. */
  async dial(toNumber: string | undefined): Promise<void> {
    const body = JSON.stringify(toNumber === undefined ? {} : { to_number: toNumber });
    await this.#insist(() => this.#ask("POST", "/dial", { type: "application/json", body }));
  }

  /** Ends the call. A call that is not there any more is ended too. */
  async hangup(): Promise<void> {
    if (!this.place) return;
    try {
      await this.#insist(() => this.#ask("DELETE", "", { keepalive: true }));
      this.place = undefined;
    } catch (error) {
      if (!(error instanceof RevDeskError && isGone(error))) throw error;
    }
  }

  /** Tells `listener` of each event until the leg is over, and over interruptions. Returns when the call is not there any more. */
  async follow(listener: (event: ServerEvent) => void): Promise<void> {
    let parser = new EventParser();
    for (let pause = 250; !this.#over.aborted; pause = Math.min(pause * 2, SLOWEST_RETRY_MS)) {
      try {
        await this.#stream(parser, (event) => {
          pause = 250;
          try {
            listener(event);
          } catch {
            // No event of ours: the next one may be.
          }
        });
      } catch (error) {
        if (error instanceof RevDeskError && isGone(error)) return;
      }
      // Half a field may have come before the interruption.
      parser = new EventParser(parser.lastId);
      await sleep(pause, this.#over);
    }
  }

  async #stream(parser: EventParser, listener: (event: ServerEvent) => void): Promise<void> {
    const { location, secret } = this.#placed();
    const headers = parser.lastId ? { "Last-Event-ID": parser.lastId } : undefined;
    const asked = { method: "GET", url: `${location}/events`, bearer: secret, headers, hurry: this.#over };
    await exchange(asked, SILENCE_MS, async (response, alive) => {
      if (!response.ok) throw refused(response, await response.text());
      const reader = response.body?.getReader();
      const decoder = new TextDecoder();
      while (reader) {
        const { done, value } = await reader.read();
        if (done || this.#over.aborted) return;
        alive();
        for (const event of parser.push(decoder.decode(value, { stream: true }))) listener(event);
      }
    });
  }

  #placed(): Place {
    if (!this.place) throw new RevDeskError("invalid_state");
    return this.place;
  }

  #ask(method: string, path: string, more: Partial<Ask>): Promise<Answered> {
    const { location, secret } = this.#placed();
    return ask({ method, url: location + path, bearer: secret, ...more });
  }

  async #insist<T>(attempt: () => Promise<T>): Promise<T> {
    for (let pause = 250; ; pause *= 2) {
      try {
        return await attempt();
      } catch (error) {
        const passing = error instanceof RevDeskError && error.code === "server_unreachable";
        if (!passing || pause > 1_000) throw error;
      }
      await sleep(pause);
    }
  }
}

/** Whether the server says that the call, or our right to it, is no more. */
export function isGone(error: RevDeskError): boolean {
  return [401, 403, 404].includes(error.status ?? 0);
}

interface Answered {
  response: Response;
  text: string;
}

function ask(asked: Ask): Promise<Answered> {
  return exchange(asked, REQUEST_MS, async (response) => {
    const text = await response.text();
    if (!response.ok) throw refused(response, text);
    return { response, text };
  });
}

/** Asks and lets `read` take the answer. Cut off by `hurry`, or after `patience` ms in which `read` did not say that it is alive. */
async function exchange<T>(
  { method, url, bearer, type, body, headers, hurry, keepalive = false }: Ask,
  patience: number,
  read: (response: Response, alive: () => void) => Promise<T>,
): Promise<T> {
  const abort = new AbortController();
  const cut = (): void => abort.abort();
  let timer = setTimeout(cut, patience);
  hurry?.addEventListener("abort", cut);
  if (hurry?.aborted) cut();
  try {
    const response = await fetch(url, {
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
      referrerPolicy: "no-referrer",
      method,
      headers: { Authorization: `Bearer ${bearer}`, ...(type && { "Content-Type": type }), ...headers },
      ...(body !== undefined && { body }),
      keepalive,
      signal: abort.signal,
    });
    return await read(response, () => {
      clearTimeout(timer);
      timer = setTimeout(cut, patience);
    });
  } catch (cause) {
    throw cause instanceof RevDeskError ? cause : new RevDeskError("server_unreachable", { cause });
  } finally {
    clearTimeout(timer);
    hurry?.removeEventListener("abort", cut);
    cut();
  }
}

function answer(response: Response, sdp: string): string {
  const type = response.headers.get("Content-Type")?.split(";")[0]?.trim().toLowerCase();
  if (type !== SDP || !sdp.startsWith("v=0")) throw unexpected(response, "the answer is no SDP");
  return sdp;
}

function unexpected(response: Response, what: string): RevDeskError {
  return new RevDeskError("server_error", { ...facts(response), cause: what });
}

function facts({ status, headers }: Response): ErrorDetail {
  const requestId = headers.get("X-Request-Id");
  return { status, ...(requestId && { requestId }) };
}

/** An error from the server's envelope. What is no envelope (a proxy's page, say) gets a code from the status. */
function refused(response: Response, text: string): RevDeskError {
  const { status } = response;
  let said: { code?: unknown; message?: unknown; fields?: unknown } = {};
  try {
    said = Object((JSON.parse(text) as { error?: unknown } | null)?.error) as typeof said;
  } catch {
    // The status says enough.
  }
  const code = isErrorCode(said.code) ? said.code : codeOf(status);
  const wait = Number(response.headers.get("Retry-After") ?? Number.NaN);
  return new RevDeskError(code, {
    ...facts(response),
    ...(code === "server_error" && typeof said.message === "string" && { message: said.message }),
    ...(said.fields instanceof Object && { fields: said.fields as Record<string, string> }),
    ...(wait >= 0 && { retryAfterSeconds: wait }),
  });
}

function codeOf(status: number): ErrorCode {
  if (status === 401) return "token_invalid";
  if (status === 404) return "call_gone";
  if (status === 429) return "rate_limited";
  return status > 501 && status < 505 ? "unavailable" : "server_error";
}
