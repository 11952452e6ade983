import { Leg } from "./leg.js";
import { endpoint } from "./rtc.js";
import type { LegOptions } from "./types.js";

export interface RoomOptions extends LegOptions {
  /** `room_url` from the answer to `POST /v1/room-token`. */
  roomUrl: string;
}

/** Path B: the server rings the destination as soon as this browser has joined. The token comes from `POST /v1/room-token`. */
export class RevDeskRoom extends Leg {
  constructor(options: RoomOptions) {
    super(options, endpoint(options.roomUrl, ""));
  }
}
