import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeReport, played, spread, stalls } from '../lib/report.mjs';
import { readOptions } from '../lib/options.mjs';

/** Samples every 250 ms; `positions` are the playback positions in seconds. */
const monitorOf = (positions, extra = {}) => ({
  startedAfterMs: 0,
  samples: positions.map((currentTime, index) => ({
    at: index * 250, currentTime, paused: false, ended: false, readyState: 4,
    width: 1280, height: 720, decoded: index * 8, dropped: 1, latency: 2 + index / 10, wallClockLatency: null,
  })),
  waits: [],
  seeks: [],
  ...extra,
});

test('steady playback has no stall and its advance is what was played', () => {
  const report = makeReport({ player: 'hls', version: '1', monitor: monitorOf([0, 0.25, 0.5, 0.75, 1]), errors: [] });
  assert.deepEqual(report.stalls, []);
  assert.equal(report.currentTime_advance, 1);
  assert.equal(report.final_state, 'playing');
  assert.deepEqual(report.latency, { min: 2, median: 2.2, max: 2.4, last: 2.4 });
  assert.equal(played(report, 1), true);
  assert.equal(played(report, 30), false);
});

test('a position that stands still for more than half a second is a stall, a shorter pause is not', () => {
  assert.deepEqual(stalls(monitorOf([0, 1, 1, 1, 1, 2])), [{ at: 250, ms: 750 }]);
  assert.deepEqual(stalls(monitorOf([0, 1, 1, 1, 2])), []);
  assert.deepEqual(stalls(monitorOf([0, 1, 1, 1, 1])), [{ at: 250, ms: 750 }]);
});

test('a waiting event and the freeze that it caused are one stall', () => {
  const monitor = monitorOf([0, 1, 1, 1, 1, 2], { waits: [{ at: 300, ms: 800, seeking: false }] });
  assert.deepEqual(stalls(monitor), [{ at: 250, ms: 850 }]);
});

test('a waiting event that never ended lasts until the last sample', () => {
  assert.deepEqual(stalls(monitorOf([0, 0.25, 0.5], { waits: [{ at: 400, ms: null, seeking: true }] })), [{ at: 400, ms: 100, seeking: true }]);
});

test('a jump of the position is not counted as playing', () => {
  const report = makeReport({ player: 'page', version: null, monitor: monitorOf([0, 0.25, 60, 60.25]), errors: [] });
  assert.equal(report.currentTime_advance, 0.5);
});

test('a fatal error or a start that never came is not played', () => {
  const monitor = monitorOf([0, 0.25, 0.5]);
  const errors = [{ at_ms: 1, fatal: true, type: 'x', message: 'y' }];
  assert.equal(played(makeReport({ player: 'hls', version: '1', monitor, errors }), 0.5), false);
  const never = makeReport({ player: 'hls', version: '1', monitor: { ...monitor, startedAfterMs: null }, errors: [] });
  assert.equal(never.final_state, 'never-started');
  assert.equal(played(never, 0.1), false);
});

test('the spread of unknown values is unknown', () => {
  assert.equal(spread([null, undefined, NaN]), null);
  assert.deepEqual(spread([null, 3, 1]), { min: 1, median: 2, max: 3, last: 1 });
});

test('the command line says what is wrong', () => {
  assert.throws(() => readOptions([]), /--player is missing/);
  assert.throws(() => readOptions(['--player', 'vlc', '--url', 'http://x/']), /"vlc" is not known/);
  assert.throws(() => readOptions(['--player', 'hls,dash', '--url-hls', 'http://x/']), /player dash has no address/);
  assert.throws(() => readOptions(['--player', 'hls', '--url', 'file:///x']), /must begin with http/);
  assert.throws(() => readOptions(['--player', 'hls', '--url', 'http://x/', '--seconds', '0']), /--seconds/);
  assert.throws(() => readOptions(['--player', 'hls', '--url', 'http://x/', '--viewport', 'big']), /--viewport/);
  const options = readOptions(['--player', 'hls,mpegts', '--url-hls', 'http://a/', '--url-flv', 'http://b/', '--viewport', '390x844']);
  assert.deepEqual(options.players, [{ name: 'hls', url: 'http://a/' }, { name: 'mpegts', url: 'http://b/' }]);
  assert.deepEqual(options.viewport, { width: 390, height: 844 });
});
