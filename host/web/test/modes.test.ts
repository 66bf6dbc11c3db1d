import assert from 'node:assert/strict';
import { test } from 'node:test';
import { backoffMs } from '../src/lib/backoff.ts';
import { nextMode, pickMode, sourcesFor } from '../src/lib/modes.ts';

const all = { mse: true, flv: true, nativeHls: true };
const urls = { rtmp: 'rtmp://h/r', httpFlv: '/r.flv', hls: '/r/index.m3u8', dash: '/r/manifest.mpd' };

test('a way to play needs the room and the browser', () => {
  assert.deepEqual([...sourcesFor(urls, all).keys()], ['hls', 'dash', 'flv', 'native']);
  assert.deepEqual([...sourcesFor({ httpFlv: '/r.flv' }, all).keys()], ['flv']);
  assert.deepEqual([...sourcesFor(urls, { mse: false, flv: false, nativeHls: true }).keys()], ['native']);
  assert.equal(sourcesFor({}, all).size, 0);
});

test('what was asked for is played if it is there', () => {
  const sources = sourcesFor(urls, all);
  assert.equal(pickMode(sources, 'flv'), 'flv');
  assert.equal(pickMode(sources, 'smoke-signals'), 'hls');
  assert.equal(pickMode(new Map(), 'hls'), null);
});

test('after a failure the next way is tried, until none is left', () => {
  const sources = sourcesFor(urls, all);
  assert.equal(nextMode(sources, new Set(['hls'])), 'dash');
  assert.equal(nextMode(sources, new Set(['hls', 'dash', 'flv', 'native'])), null);
});

test('the pause between attempts doubles, spreads, and has an end', () => {
  assert.ok(backoffMs(0, 0) < backoffMs(0, 1));
  assert.equal(backoffMs(1, 1), 2 * backoffMs(0, 1));
  assert.equal(backoffMs(50, 1), 15_000);
});
