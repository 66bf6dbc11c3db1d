// How long to wait before trying again.

const FIRST_MS = 800;
const LONGEST_MS = 15_000;

/**
 * Milliseconds to wait before attempt number `attempt` (0 is the first repetition): doubling, up to 15 s, with jitter,
 * so that a thousand viewers do not come back in the same instant. `random` is between 0 and 1.
 */
export function backoffMs(attempt: number, random: number): number {
  const full = Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(attempt, 10));
  return Math.round(full * (0.6 + 0.4 * random));
}
