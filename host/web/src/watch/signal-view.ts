// The panel that shows how the stream is doing: latency with its last minute as a curve, picture, codecs, bitrate, losses.

import { find, setText } from '../lib/dom.ts';
import { codecNames, formatBitrate, formatDropped, formatResolution, formatSeconds } from '../lib/format.ts';
import { sparkline } from './sparkline.ts';
import type { Snapshot } from './player.ts';

/** One point per half second: a minute. */
const POINTS = 120;
const HEIGHT = 36;

export class SignalView {
  #latency = find<HTMLElement>('#latency');
  #line = find<SVGPathElement>('.spark-line');
  #area = find<SVGPathElement>('.spark-area');
  #facts = Object.fromEntries(['picture', 'codecs', 'bitrate', 'buffer', 'dropped', 'stalls', 'player']
    .map((name) => [name, find<HTMLElement>(`#fact-${name}`)]));
  #history: (number | null)[] = [];
  #drawnAt = 0;

  show(snapshot: Snapshot): void {
    const now = performance.now();
    // Shown at most twice a second, whatever calls: numbers that flicker can't be read.
    if (now - this.#drawnAt < 450) return;
    this.#drawnAt = now;
    const playing = snapshot.state === 'playing' || snapshot.state === 'buffering';
    setText(this.#latency, formatSeconds(playing ? snapshot.latency : null));
    this.#history.push(playing ? snapshot.latency : null);
    if (this.#history.length > POINTS) this.#history.shift();
    const { line, area } = sparkline(this.#history, POINTS, HEIGHT);
    this.#line.setAttribute('d', line);
    this.#area.setAttribute('d', area);
    this.#set('picture', formatResolution(snapshot.width, snapshot.height, snapshot.framesPerSecond));
    this.#set('codecs', codecNames(snapshot.codecs));
    this.#set('bitrate', formatBitrate(snapshot.bitrate));
    this.#set('buffer', formatSeconds(snapshot.buffer));
    this.#set('dropped', formatDropped(snapshot.dropped, snapshot.decoded));
    this.#set('stalls', String(snapshot.stalls));
    this.#set('player', snapshot.version ?? '–');
  }

  #set(name: string, text: string): void {
    const target = this.#facts[name];
    if (target) setText(target, text);
  }
}
