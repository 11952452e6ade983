import { invalid } from "./errors.js";
import { Leg } from "./leg.js";
import type { LegOptions } from "./types.js";

export interface RTCOptions extends LegOptions {
  /** The server, `https://…`. The page's own origin unless given. */
  url?: string;
}

/** Path A: this browser dials the call that its token names. The token comes from `POST /v1/webrtc-token`. */
export class RevDeskRTC extends Leg {
  constructor(options: RTCOptions) {
    super(options, endpoint(options.url ?? globalThis.location?.origin, "/v1/webrtc/connections"));
  }

  /**
   * Rings the destination, connecting first when that is still to be done. The number is the token's own and may be
   * left out; naming it guards against a mix-up. Repeating it is harmless.
   */
  async dial(toNumber?: string): Promise<void> {
    if (toNumber !== undefined && !/^\+[1-9]\d{1,14}$/.test(toNumber)) throw invalid("A number is + and 2 to 15 digits.");
    await this.ask(toNumber);
  }
}

const WANTED = "The server's URL is https://host/path, without user, query or fragment.";

/** An absolute URL below `base`, free of anything that would be logged along the way. */
export function endpoint(base: string | undefined, path: string): string {
  let url: URL;
  try {
    url = new URL(base ?? "");
  } catch (cause) {
    throw invalid(WANTED, cause);
  }
  if (!/^https?:$/.test(url.protocol) || url.username || url.search || url.hash) throw invalid(WANTED);
  return path ? url.href.replace(/\/?$/, path) : url.href;
}
