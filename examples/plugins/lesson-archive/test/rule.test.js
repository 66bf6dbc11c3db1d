import assert from 'node:assert/strict';
import test from 'node:test';
import { list, open } from '../src/rule.js';

const settings = { bucket: 'school', endpoint: 'https://s3.example.com', region: null, credential: 'archive' };
const error = (ask) => {
  try { ask(); } catch (thrown) { return thrown.tag; }
  return null;
};

test('a lesson is found by its course and date', () => {
  const plan = open('lesson://algebra/2026-11-21', settings);
  assert.equal(plan.tag, 's3');
  assert.equal(plan.val.key, 'lessons/2026/11/algebra-21.mp4');
  assert.equal(plan.val.credential, 'archive');
});

test('a month is listed by the host', () => {
  assert.equal(list('lesson://2026-11', settings).val.val.key, 'lessons/2026/11/');
});

test('what is wrong is told from what is not its own', () => {
  assert.equal(error(() => open('vod://s3/bucket/key.mp4', settings)), 'not-mine');
  for (const uri of ['lesson://', 'lesson://algebra', 'lesson://algebra/2026-02-30', 'lesson://../2026-11-21', 'lesson://a/2026-11-21/x']) {
    assert.equal(error(() => open(uri, settings)), 'invalid', uri);
  }
  assert.equal(error(() => open('lesson://algebra/2026-11-21', {})), 'unavailable');
});
