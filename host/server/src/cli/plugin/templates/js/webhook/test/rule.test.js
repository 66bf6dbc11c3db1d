import assert from 'node:assert/strict';
import test from 'node:test';
import { attempted, deliver } from '../src/rule.js';

const verdict = (status, retryAfter = null) => attempted({ outcome: { tag: 'response', val: { status, retryAfter } } });

test('a room that goes live is told to each address', () => {
  const answer = deliver({ kind: 'videoRoom.live', roomId: 'room-1' }, 'https://a.example\nhttps://b.example');
  assert.deepEqual(answer.val.map((delivery) => delivery.url), ['https://a.example', 'https://b.example']);
  assert.equal(Buffer.from(answer.val[0].body).toString(), 'Room room-1 is live.');
});

test('everything else is left to the next plugin', () => {
  assert.equal(deliver({ kind: 'member.created', roomId: null }, 'https://a.example').tag, 'abstain');
});

test('an attempt is judged by its status', () => {
  assert.equal(verdict(204).tag, 'done');
  assert.equal(verdict(410).tag, 'give-up');
  assert.deepEqual(verdict(503, 2000n), { tag: 'retry-after', val: 2000n });
});
