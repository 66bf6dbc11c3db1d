import assert from 'node:assert/strict';
import { test } from 'node:test';
import { codecNames, formatBitrate, formatCountdown, formatDropped, formatResolution, formatSeconds, hueOf } from '../src/lib/format.ts';

test('numbers are as long as they need to be', () => {
  assert.equal(formatSeconds(2.345), '2.35 s');
  assert.equal(formatSeconds(12.345), '12.3 s');
  assert.equal(formatSeconds(Number.NaN), '–');
  assert.equal(formatBitrate(2_500_000), '2.50 Mbit/s');
  assert.equal(formatBitrate(128_400), '128 kbit/s');
  assert.equal(formatBitrate(999_600), '1.00 Mbit/s');
  assert.equal(formatBitrate(null), '–');
});

test('a picture shows its frame rate only when that is known', () => {
  assert.equal(formatResolution(1280, 720, 29.97), '1280×720 · 30 fps');
  assert.equal(formatResolution(1280, 720, null), '1280×720');
  assert.equal(formatResolution(0, 0, 30), '–');
});

test('dropped frames get a share once it is worth a word', () => {
  assert.equal(formatDropped(1, 100_000), '1');
  assert.equal(formatDropped(50, 1000), '50 (5.0 %)');
  assert.equal(formatDropped(null, 10), '–');
});

test('codecs are named as people name them', () => {
  assert.equal(codecNames('avc1.64001f,mp4a.40.2'), 'H.264 High · AAC');
  assert.equal(codecNames('hvc1.1.6.L93.B0, opus'), 'HEVC · Opus');
  assert.equal(codecNames('av01.0.05M.08,mp4a.6B'), 'AV1 · MP3');
  assert.equal(codecNames(null), '–');
});

test('a countdown ends with nothing', () => {
  assert.equal(formatCountdown(0), null);
  assert.equal(formatCountdown(45_000), 'in 45 s');
  assert.equal(formatCountdown(5_400_000), 'in 1 h 30 min');
  assert.equal(formatCountdown(86_400_000), 'in a day');
});

test('a hue depends on its text only', () => {
  assert.equal(hueOf('room'), hueOf('room'));
  assert.notEqual(hueOf('room'), hueOf('rooms'));
  assert.ok(hueOf('x') >= 0 && hueOf('x') < 360);
});
