import assert from 'node:assert/strict';
import test from 'node:test';
import { attempted, deliver } from '../src/rule.js';

const context = { app: { name: 'Grüße 👋' } };
const event = (kind) => ({ id: 'e-1', kind, time: 1_800_000_000_000, roomId: 'room-1', data: '{}' });
const URL = 'https://discord.com/api/webhooks/1/x';
const message = (kind) => JSON.parse(new TextDecoder().decode(deliver(context, event(kind), URL).val[0].body));

test('a room that goes live is announced', () => {
  const { embeds: [embed] } = message('videoRoom.live');
  assert.equal(embed.title, 'Room room-1 is live');
  assert.equal(embed.footer.text, 'Grüße 👋');
  assert.equal(embed.timestamp, '2027-01-15T08:00:00.000Z');
  assert.equal(message('videoRoom.ended').embeds[0].title, 'Room room-1 has ended');
});

test('other events, and events without a channel, are told to nobody', () => {
  assert.deepEqual(deliver(context, event('member.created'), URL).val, []);
  assert.deepEqual(deliver(context, event('videoRoom.live'), null).val, []);
});

test('Discord says when to try again', () => {
  const answer = (status, body = '', retryAfter = null) =>
    attempted({ number: 1, outcome: { tag: 'response', val: { status, retryAfter, body: new TextEncoder().encode(body) } } });
  assert.equal(answer(204).tag, 'done');
  assert.deepEqual(answer(429, '{"retry_after": 1.2501}'), { tag: 'retry-after', val: 1251 });
  assert.deepEqual(answer(429, 'no JSON', 3000), { tag: 'retry-after', val: 3000 });
  assert.deepEqual(answer(503), { tag: 'retry-after', val: null });
  assert.equal(answer(404).tag, 'give-up');
  assert.deepEqual(attempted({ number: 1, outcome: { tag: 'failed', val: 'refused' } }), { tag: 'retry-after', val: null });
});
