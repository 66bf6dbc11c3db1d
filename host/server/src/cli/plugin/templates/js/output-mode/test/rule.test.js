import assert from 'node:assert/strict';
import test from 'node:test';
import { resolve } from '../src/rule.js';

const outputs = (stream, urlMode = null) => resolve({}, { stream, urlMode });

test('radio gets CMAF unless the URL says otherwise', () => {
  assert.equal(outputs('radio-1').val.mode, 'cmaf');
  assert.equal(outputs('radio-1', 'RTMP').tag, 'abstain');
  assert.equal(outputs('stage').tag, 'abstain');
});
