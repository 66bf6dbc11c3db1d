// Turns what the monitor saw into one report. Pure: no browser, no clock.

/** A playback position that stands still for longer than this counts as a stall, in milliseconds. */
export const STALL_MS = 500;

const round = (value, digits = 3) => (value === null || value === undefined ? null : Number(value.toFixed(digits)));

/** Smallest, middle, largest and last of a list of seconds; null when the player never told any. */
export function spread(values) {
  const known = values.filter((value) => Number.isFinite(value));
  if (known.length === 0) return null;
  const sorted = [...known].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  return { min: round(sorted[0]), median: round(median), max: round(sorted.at(-1)), last: round(known.at(-1)) };
}

/** Stretches of samples in which the position did not move for longer than STALL_MS. */
function freezes(samples) {
  const found = [];
  let since = null;
  for (let index = 1; index < samples.length; index += 1) {
    const before = samples[index - 1];
    const here = samples[index];
    if (here.currentTime === before.currentTime && !here.ended) {
      since ??= before.at;
      continue;
    }
    if (since !== null && before.at - since > STALL_MS) found.push({ at: since, ms: before.at - since });
    since = null;
  }
  const last = samples.at(-1);
  if (since !== null && last.at - since > STALL_MS) found.push({ at: since, ms: last.at - since });
  return found;
}

/** `waiting` events and freezes of the position, merged where they overlap. Times in milliseconds since the page was opened. */
export function stalls(monitor) {
  const started = monitor.startedAfterMs;
  if (started === null) return [];
  const samples = monitor.samples.filter((sample) => sample.at >= started);
  const end = samples.at(-1)?.at ?? started;
  const spans = [
    ...monitor.waits.map((wait) => ({ at: wait.at, ms: wait.ms ?? Math.max(0, end - wait.at), seeking: wait.seeking })),
    ...freezes(samples).map((freeze) => ({ ...freeze, seeking: false })),
  ].sort((a, b) => a.at - b.at);
  const merged = [];
  for (const span of spans) {
    const previous = merged.at(-1);
    if (previous && span.at <= previous.at + previous.ms) {
      previous.ms = Math.max(previous.ms, span.at + span.ms - previous.at);
      previous.seeking ||= span.seeking;
    } else {
      merged.push({ ...span });
    }
  }
  return merged.map(({ at, ms, seeking }) => ({ at: Math.round(at), ms: Math.round(ms), ...(seeking ? { seeking } : {}) }));
}

/** Seconds that the position moved forward; jumps (a seek, another player's clock) are left out. */
function advance(samples) {
  let sum = 0;
  for (let index = 1; index < samples.length; index += 1) {
    const moved = samples[index].currentTime - samples[index - 1].currentTime;
    const elapsed = (samples[index].at - samples[index - 1].at) / 1000;
    if (moved > 0 && moved <= 2 * elapsed + 0.5) sum += moved;
  }
  return sum;
}

function finalState(monitor, samples) {
  if (monitor.startedAfterMs === null) return 'never-started';
  const last = samples.at(-1);
  if (!last) return 'unknown';
  if (last.ended) return 'ended';
  if (last.paused) return 'paused';
  return last.readyState >= 3 ? 'playing' : 'buffering';
}

/** The report of one player: what the monitor saw, and what the player said of itself. */
export function makeReport({ player, version, monitor, errors }) {
  const started = monitor.startedAfterMs;
  const samples = started === null ? [] : monitor.samples.filter((sample) => sample.at >= started);
  const stalled = stalls(monitor);
  const stalledMs = stalled.reduce((sum, stall) => sum + stall.ms, 0);
  const last = samples.at(-1);
  const latency = spread(samples.map((sample) => sample.latency));
  const wallClock = spread(samples.map((sample) => sample.wallClockLatency));
  const wall = last ? last.at - started : 0;
  return {
    player,
    version,
    seconds_played: round(Math.max(0, wall - stalledMs) / 1000, 1),
    started_after_ms: started === null ? null : Math.round(started),
    fatal_errors: errors.filter((error) => error.fatal),
    errors: errors.filter((error) => !error.fatal),
    stalls: stalled,
    seeks: monitor.seeks.map((seek) => ({ at: Math.round(seek.at), to: round(seek.to) })),
    latency,
    ...(wallClock ? { wall_clock_latency: wallClock } : {}),
    resolution: last && last.width > 0 ? `${last.width}x${last.height}` : null,
    decoded_frames: last?.decoded ?? 0,
    dropped_frames: last?.dropped ?? 0,
    currentTime_advance: round(advance(samples)),
    final_state: finalState(monitor, monitor.samples),
  };
}

/** Did it play? It started, nothing fatal happened, and the position moved for at least half of the time. */
export function played(report, seconds) {
  return report.fatal_errors.length === 0
    && report.started_after_ms !== null
    && report.currentTime_advance >= seconds / 2
    && (report.switches ?? []).every((step) => step.ok);
}
