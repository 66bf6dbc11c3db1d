const MODES = ['rtmp', 'cmaf', 'rtmp-cmaf'];
const DAY = 24 * 60;

/**
 * The outputs at a time of day.
 *
 * @param {number} now milliseconds since the Unix epoch
 * @param {{urlMode: string | null}} request
 * @param {string | null} hours spans of the day with the mode in each, as in "06:00-18:00 cmaf, 18:00-06:00 rtmp-cmaf"; the first
 *   that holds the time counts
 * @param {string | null} offset how far local time is from UTC, as in "+02:00"
 */
export function resolve(now, request, hours, offset) {
  // Who asks for something in the publish URL, shall have it; and outside of all spans the next plugin is asked.
  const abstain = { tag: 'abstain' };
  if (request.urlMode !== null || !hours) return abstain;
  const local = (Math.floor(now / 60_000) + minutesOffset(offset ?? '+00:00') + DAY) % DAY;
  const span = hours.split(',').map(parseSpan).find(({ from, to }) =>
    from <= to ? from <= local && local < to : local >= from || local < to);
  return span ? { tag: 'use-outputs', val: { mode: span.mode, transcodingProfile: null } } : abstain;
}

function parseSpan(text) {
  const parts = /^\s*(\d\d):(\d\d)-(\d\d):(\d\d)\s+(\S+)\s*$/.exec(text);
  if (!parts || !MODES.includes(parts[5])) {
    throw new Error(`hours: ${JSON.stringify(text)} is no span such as "06:00-18:00 cmaf"; the modes are ${MODES.join(', ')}`);
  }
  return { from: minutes(parts[1], parts[2], text), to: minutes(parts[3], parts[4], text), mode: parts[5] };
}

function minutesOffset(text) {
  const parts = /^([+-])(\d\d):(\d\d)$/.exec(text);
  if (!parts) throw new Error(`utc-offset: ${JSON.stringify(text)} is no offset such as "+02:00"`);
  return (parts[1] === '-' ? -1 : 1) * minutes(parts[2], parts[3], text);
}

function minutes(hours, minutes, text) {
  const sum = Number(hours) * 60 + Number(minutes);
  if (Number(minutes) > 59 || sum > DAY) throw new Error(`${JSON.stringify(text)} is no time of day`);
  return sum;
}
