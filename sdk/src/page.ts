/** What the page and its network do while a leg lives. */

export interface PageListener {
  /** The network went, came, or is another one. */
  changed(): void;
  /** The page goes away: for good, to be loaded again, or to be shown again later. */
  away(): void;
  back(): void;
}

/** Tells `listener` until `over`. */
export function attend(listener: PageListener, over: AbortSignal): void {
  const options = { signal: over };
  const network = (globalThis.navigator as Navigator & { connection?: EventTarget & { type?: string } }).connection;
  let type = network?.type;
  const look = (): void => {
    // It also tells of mere speed.
    if (network?.type !== type) listener.changed();
    type = network?.type;
  };
  network?.addEventListener("change", look, options);
  addEventListener("online", listener.changed, options);
  addEventListener("offline", listener.changed, options);
  addEventListener("pagehide", listener.away, options);
  addEventListener("pageshow", listener.back, options);
}
