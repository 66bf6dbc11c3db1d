import assert from 'node:assert/strict';
import test from 'node:test';
import { decide } from '../src/rule.js';

const publish = (appUserId) => decide({}, { tag: 'publish', val: { member: { appUserId } } });

test('only the team may publish', () => {
  assert.equal(publish('team-alice').tag, 'allow');
  assert.equal(publish('mallory').val.code, 'not-in-the-team');
});

test('everything else is left to the next plugin', () => {
  assert.equal(decide({}, { tag: 'play', val: {} }).tag, 'abstain');
});
