import assert from 'node:assert/strict';
import test from 'node:test';
import { list, open } from '../src/rule.js';

const refusal = (uri) => {
  try {
    open(uri);
  } catch (error) {
    return error.tag;
  }
  return null;
};

test('a show is a file', () => {
  assert.deepEqual(open('show://pilot-1'), { tag: 'file', val: { path: 'shows/pilot-1.mp4' } });
  assert.equal(list('show://').tag, 'place');
});

test('everything else is refused', () => {
  assert.equal(refusal('vod://s3/bucket/key.mp4'), 'not-mine');
  for (const name of ['', '../secret', 'A']) assert.equal(refusal(`show://${name}`), 'invalid');
});
