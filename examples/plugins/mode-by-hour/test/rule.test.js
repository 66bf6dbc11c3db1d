import assert from 'node:assert/strict';
import test from 'node:test';
import { resolve } from '../src/rule.js';

const HOURS = '06:00-18:00 cmaf, 18:00-06:00 rtmp-cmaf';
const at = (time, hours = HOURS, offset = null, urlMode = null) =>
  resolve(Date.parse(`2027-01-15T${time}:00Z`), { urlMode }, hours, offset);
const mode = (...question) => at(...question).val?.mode;

test('the first span that holds the time counts', () => {
  assert.equal(mode('06:00'), 'cmaf');
  assert.equal(mode('17:59'), 'cmaf');
  assert.equal(mode('18:00'), 'rtmp-cmaf');
  assert.equal(mode('05:59'), 'rtmp-cmaf');
  assert.equal(mode('12:00', '00:00-24:00 rtmp, 06:00-18:00 cmaf'), 'rtmp');
});

test('the time is local', () => {
  assert.equal(mode('16:30', HOURS, '+02:00'), 'rtmp-cmaf');
  assert.equal(mode('07:30', HOURS, '-02:00'), 'rtmp-cmaf');
  assert.equal(mode('23:30', '01:00-02:00 rtmp', '+02:00'), 'rtmp');
});

test('what it does not know it leaves to the next plugin', () => {
  assert.equal(at('12:00', null).tag, 'abstain');
  assert.equal(at('12:00', HOURS, null, 'RTMP').tag, 'abstain');
  assert.equal(at('03:00', '06:00-18:00 cmaf').tag, 'abstain');
});

test('mistakes in the settings are named', () => {
  assert.throws(() => at('12:00', '6-18 cmaf'), /hours: "6-18 cmaf"/);
  assert.throws(() => at('12:00', '06:00-18:00 hls'), /modes are rtmp/);
  assert.throws(() => at('12:00', '06:00-18:61 cmaf'), /no time of day/);
  assert.throws(() => at('12:00', HOURS, '2h'), /utc-offset/);
});
