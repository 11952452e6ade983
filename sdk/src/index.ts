/** @revdesk/webrtc: calls from the browser through a revbridge server. */

export { ERROR_CODES, type ErrorCode, type ErrorDetail, RevDeskError } from "./errors.js";
export { type RoomOptions, RevDeskRoom } from "./room.js";
export { RevDeskRTC, type RTCOptions } from "./rtc.js";
export type { Flow, LegStats, Quality } from "./stats.js";
export type { Disconnect, LegEvents, LegOptions, LegState } from "./types.js";
export type { Warning, WarningName } from "./watch.js";
