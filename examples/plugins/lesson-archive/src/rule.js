const SCHEME = 'lesson://';

/**
 * The object that a lesson is in: `lesson://algebra/2026-11-21` is `lessons/2026/11/algebra-21.mp4`.
 *
 * A result's error is thrown.
 */
export function open(uri, settings) {
  const parts = /^([a-z0-9-]{1,64})\/(\d{4})-(\d\d)-(\d\d)$/.exec(rest(uri));
  if (!parts) throw invalid(uri, 'lesson://COURSE/YYYY-MM-DD');
  const [, course, year, month, day] = parts;
  const date = new Date(`${year}-${month}-${day}T00:00:00Z`);
  if (Number.isNaN(date.getTime()) || date.getUTCDate() !== Number(day)) throw invalid(uri, 'a date that there is');
  return object(`lessons/${year}/${month}/${course}-${day}.mp4`, settings);
}

/** The lessons of a month: `lesson://2026-11`. */
export function list(uri, settings) {
  const parts = /^(\d{4})-(\d\d)$/.exec(rest(uri));
  if (!parts) throw invalid(uri, 'lesson://YYYY-MM');
  return { tag: 'place', val: object(`lessons/${parts[1]}/${parts[2]}/`, settings) };
}

function rest(uri) {
  if (!uri.startsWith(SCHEME)) throw { tag: 'not-mine' };
  return uri.slice(SCHEME.length);
}

function object(key, { bucket, endpoint, region, credential }) {
  if (!bucket) throw { tag: 'unavailable', val: 'The setting "bucket" is missing.' };
  return { tag: 's3', val: { bucket, key, endpoint, region, addressing: endpoint ? 'path' : 'virtual-host', credential } };
}

function invalid(uri, expected) {
  return { tag: 'invalid', val: `${uri.slice(0, 200)} is not ${expected}` };
}
