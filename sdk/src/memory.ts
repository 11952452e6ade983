/**
 * What a leg needs to come back after a reload of the page: kept in `sessionStorage`, so for this tab only, until the call ends.
 *
 * The entry is found by a hash of the token; the token itself is used up and not kept. A duplicated tab
 * begins with a copy of the storage: a lock keeps it from taking the call away from the first one.
 */

import { RevDeskError } from "./errors.js";
import type { Place } from "./signalling.js";

/** How long a page that goes away may still hold the lock. */
const LOCK_MS = 2_000;

export interface Kept extends Place {
  muted: boolean;
  device?: string | undefined;
}

export class Memory {
  /** What an earlier page has kept for this token. */
  kept: Kept | undefined;
  readonly #key: string | undefined;
  #release: () => void = () => undefined;

  private constructor(key: string | undefined) {
    this.#key = key;
  }

  /** Remembers nothing when `wanted` is false, or the browser has no storage for this page. */
  static async of(token: string, wanted: boolean): Promise<Memory> {
    const memory = new Memory(wanted && storage() ? await keyOf(token) : undefined);
    const held = await memory.#lock();
    memory.kept = read(memory.#key);
    if (!held && memory.kept) throw new RevDeskError("open_elsewhere");
    return memory;
  }

  write(kept: Kept): void {
    if (this.#key === undefined) return;
    try {
      storage()?.setItem(this.#key, JSON.stringify(kept));
    } catch {
      // Full: a reload will end the call, nothing else changes.
    }
  }

  /** Forgets the leg. */
  clear(): void {
    if (this.#key !== undefined) storage()?.removeItem(this.#key);
    this.release();
  }

  /** Lets another tab have the leg. */
  release(): void {
    this.#release();
  }

  async #lock(): Promise<boolean> {
    const locks = globalThis.navigator?.locks as LockManager | undefined;
    const key = this.#key;
    if (!locks || key === undefined) return true;
    const until = new Promise<void>((release) => (this.#release = release));
    const patience = new AbortController();
    const timer = setTimeout(() => patience.abort(), LOCK_MS);
    return new Promise((resolve) => {
      const hold = (): Promise<void> => {
        clearTimeout(timer);
        resolve(true);
        return until;
      };
      locks.request(key, { signal: patience.signal }, hold).catch(() => resolve(false));
    });
  }
}

function storage(): Storage | undefined {
  try {
    return globalThis.sessionStorage;
  } catch {
    return undefined;
  }
}

async function keyOf(token: string): Promise<string | undefined> {
  // Not there on a page that is not secure, which gets no microphone either.
  const subtle = globalThis.crypto?.subtle as SubtleCrypto | undefined;
  if (!subtle) return undefined;
  const hash = new Uint8Array(await subtle.digest("SHA-256", new TextEncoder().encode(token)));
  return `revdesk:${btoa(String.fromCharCode(...hash))}`;
}

function read(key: string | undefined): Kept | undefined {
  try {
    // Only this package writes it, and only whole.
    return (JSON.parse((key && storage()?.getItem(key)) || "null") as Kept | null) ?? undefined;
  } catch {
    return undefined;
  }
}
