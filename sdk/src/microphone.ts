/** The microphone: opened once, exchanged while the call goes on, muted without being closed. */

import { RevDeskError, type ErrorCode } from "./errors.js";

export class Microphone {
  /** What is being sent; of a later device once `choose` has returned. */
  track: MediaStreamTrack | undefined;
  /** Which device the next `open` takes; undefined is the system's default. */
  device: string | undefined;
  readonly #constraints: MediaTrackConstraints;
  readonly #lost: () => void;
  #muted = false;
  #closed = false;
  #latest: Promise<MediaStreamTrack> | undefined;

  /** `lost` is called when the device in use disappears. */
  constructor(constraints: MediaTrackConstraints, lost: () => void) {
    this.#constraints = constraints;
    this.#lost = lost;
  }

  get muted(): boolean {
    return this.#muted;
  }

  set muted(muted: boolean) {
    this.#muted = muted;
    if (this.track) this.track.enabled = !muted;
  }

  /** Opens the chosen device in place of the one in use. Overtaken by a later call, it gives what that one opens. */
  open(): Promise<MediaStreamTrack> {
    this.#closed = false;
    const own = this.#open(() => own === this.#latest);
    return (this.#latest = own);
  }

  async #open(latest: () => boolean): Promise<MediaStreamTrack> {
    const device = this.device && { deviceId: { exact: this.device } };
    const stream = await capture({ ...this.#constraints, ...(device || {}) });
    const [track] = stream.getAudioTracks();
    if (!track) throw new RevDeskError("microphone_missing");
    if (this.#closed || !latest()) {
      track.stop();
      if (this.#closed || !this.#latest) throw new RevDeskError("canceled");
      return this.#latest;
    }
    this.#stop();
    track.enabled = !this.#muted;
    track.onended = this.#lost;
    return (this.track = track);
  }

  close(): void {
    this.#closed = true;
    this.#stop();
  }

  #stop(): void {
    if (!this.track) return;
    this.track.onended = null;
    this.track.stop();
    this.track = undefined;
  }
}

async function capture(audio: MediaTrackConstraints): Promise<MediaStream> {
  // Not there at all on a page that is not secure.
  const devices = navigator.mediaDevices as MediaDevices | undefined;
  if (!devices) throw new RevDeskError(globalThis.isSecureContext === false ? "insecure_page" : "unsupported_browser");
  try {
    return await devices.getUserMedia({ audio });
  } catch (cause) {
    throw new RevDeskError(codeOf((cause as DOMException | undefined)?.name), { cause });
  }
}

function codeOf(name: string | undefined): ErrorCode {
  if (name === "NotAllowedError" || name === "SecurityError") return "microphone_denied";
  if (name === "NotFoundError" || name === "OverconstrainedError") return "microphone_missing";
  return "microphone_busy";
}
