/**
 * Every way in which a call from a browser can fail, each with a sentence that says what to do.
 *
 * Codes that the server sends keep its spelling; the others are what only a browser can see.
 */

const ADVICE = {
  microphone_denied: "This page may not use the microphone. Allow it in the browser's address bar, then connect again.",
  microphone_missing: "No microphone was found. Plug one in or choose another, then connect again.",
  microphone_busy: "The microphone is in use. Close the program that has it, then connect again.",
  insecure_page: "Only secure pages get the microphone. Open this page over https, or from localhost.",
  unsupported_browser: "This browser cannot place calls. Use a current Chrome, Edge, Firefox or Safari.",
  playback_blocked: "The browser plays no sound before a click. Call play() from a click handler.",
  network_blocked: "No audio path to the server: this network blocks UDP and TCP to it. Use another network, or have the server offer TURN.",
  server_unreachable: "The server does not answer. Check the network, the URL, and that its allowed_origins names this page's origin.",
  server_error: "The server's answer makes no sense. Use a new token; if it stays, report requestId.",
  call_gone: "This call is over on the server. Start another with a new token.",
  open_elsewhere: "This call is open in another tab. Go on there, or use a new token here.",
  api_key_in_browser: "This is an API key and must never reach a browser. Keep it on your server, and give the page a token (rvw_…).",
  invalid_argument: "An argument is not valid.",
  invalid_state: "The call is not where this is possible.",
  canceled: "The call was hung up before this was done.",
  token_invalid: "The server does not know this token. Use a new token.",
  token_expired: "The token has expired. Use a new token.",
  token_used: "The token is used up, each opens one connection. Use a new token.",
  token_wrong_path: "The token is for the other kind of call: /v1/webrtc-token goes with RevDeskRTC, /v1/room-token with RevDeskRoom.",
  token_destination_mismatch: "The token is for another number. Dial its own, or use a new token.",
  offer_invalid: "The server does not accept this browser's offer; fields.sdp says why. Update the browser.",
  no_common_codec: "This browser has no G.711 audio, which telephones need. Use another browser.",
  rate_limited: "Too many attempts. Try again after retryAfterSeconds.",
  unavailable: "The server takes no calls now. Try again after retryAfterSeconds.",
} as const;

/** What went wrong, for programs. */
export type ErrorCode = keyof typeof ADVICE;

export const ERROR_CODES = Object.keys(ADVICE) as ErrorCode[];

/** What is known beside the code. */
export interface ErrorDetail {
  /** Replaces the usual advice. */
  message?: string;
  /** HTTP status, when the server said it. */
  status?: number;
  /** What the server expected, by field. */
  fields?: Record<string, string>;
  retryAfterSeconds?: number;
  /** Names the request in the server's logs. */
  requestId?: string;
  cause?: unknown;
}

/** The one error type of this package. `message` is for people, `code` for programs. */
export class RevDeskError extends Error {
  readonly code: ErrorCode;
  declare readonly status?: number;
  declare readonly fields?: Record<string, string>;
  declare readonly retryAfterSeconds?: number;
  declare readonly requestId?: string;

  constructor(code: ErrorCode, detail: ErrorDetail = {}) {
    super(ADVICE[code]);
    this.name = "RevDeskError";
    this.code = code;
    Object.assign(this, detail);
  }
}

export function isErrorCode(text: unknown): text is ErrorCode {
  return typeof text === "string" && Object.hasOwn(ADVICE, text);
}

export function invalid(message: string, cause?: unknown): RevDeskError {
  return new RevDeskError("invalid_argument", { message, cause });
}

/** Gives whatever was thrown a code. */
export function toError(cause: unknown): RevDeskError {
  return cause instanceof RevDeskError ? cause : new RevDeskError("server_error", { cause });
}
