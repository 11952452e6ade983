/** Waits `ms`, or until `hurry` fires. */
export function sleep(ms: number, hurry?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (hurry?.aborted) return resolve();
    const done = (): void => {
      clearTimeout(timer);
      hurry?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    hurry?.addEventListener("abort", done);
  });
}
