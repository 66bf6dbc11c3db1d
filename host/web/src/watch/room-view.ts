// What the watch page says about the room, and the switch among the formats that it has.

import type { Room } from '../lib/api.ts';
import { copyButton, element, find, setText } from '../lib/dom.ts';
import { isOver } from '../lib/messages.ts';
import { MODES, type Mode } from '../lib/modes.ts';
import type { PlayerState } from './player.ts';

const ADDRESSES = [['rtmp', 'RTMP'], ['httpFlv', 'HTTP-FLV'], ['hls', 'HLS'], ['dash', 'DASH']] as const;

/** The word on the badge, and its colour. */
function badge(state: string): [string, 'live' | 'quiet' | 'soon'] {
  if (state === 'LIVE') return ['LIVE', 'live'];
  if (state === 'LIVE_INACTIVE') return ['PAUSED', 'soon'];
  return isOver(state) ? ['ENDED', 'quiet'] : ['SOON', 'soon'];
}

export class RoomView {
  #badge = find<HTMLElement>('#badge');
  #title = find<HTMLElement>('#title');
  #owner = find<HTMLElement>('#owner');
  #description = find<HTMLElement>('#description');
  #formats = find<HTMLElement>('#formats');
  #hint = find<HTMLElement>('#format-hint');
  #elsewhere = find<HTMLElement>('#elsewhere');
  #addresses = find<HTMLElement>('#addresses');
  #choose: (mode: Mode) => void;
  #offered = '';
  #listed = '';

  constructor(choose: (mode: Mode) => void) {
    this.#choose = choose;
  }

  show(room: Room, modes: Mode[]): void {
    const [word, tone] = badge(room.state);
    setText(this.#badge, word);
    this.#badge.dataset.tone = tone;
    setText(this.#title, room.title);
    document.title = `${room.title} · Flyloft`;
    setText(this.#owner, room.ownerName);
    this.#owner.hidden = room.ownerName === '';
    setText(this.#description, room.description);
    this.#description.hidden = room.description === '';
    this.#offer(isOver(room.state) ? [] : modes);
    this.#list(room);
  }

  /** Nothing is known about the room. */
  clear(): void {
    setText(this.#badge, '…');
    this.#badge.dataset.tone = 'quiet';
    setText(this.#title, '\u00a0');
    this.#owner.hidden = true;
    this.#description.hidden = true;
    this.#elsewhere.hidden = true;
    this.#listed = '';
    this.#offer([]);
  }

  /** Marks the format that plays. */
  showMode(mode: Mode | null, state: PlayerState): void {
    for (const button of this.#formats.querySelectorAll('button')) {
      const active = button.dataset.mode === mode && state !== 'idle';
      if (button.getAttribute('aria-pressed') !== String(active)) button.setAttribute('aria-pressed', String(active));
    }
    setText(this.#hint, mode ? MODES[mode].hint : '');
    this.#hint.hidden = mode === null || this.#formats.hidden;
  }

  #offer(modes: Mode[]): void {
    this.#formats.hidden = modes.length === 0;
    if (modes.join() === this.#offered) return;
    this.#offered = modes.join();
    this.#formats.replaceChildren(...modes.map((mode) => {
      const button = element('button', { type: 'button', 'data-mode': mode, 'aria-pressed': 'false', title: MODES[mode].hint }, MODES[mode].label);
      button.addEventListener('click', () => this.#choose(mode));
      return button;
    }));
  }

  #list(room: Room): void {
    const rows = ADDRESSES.flatMap(([name, label]) => (room.urls[name] ? [[label, room.urls[name]] as const] : []));
    this.#elsewhere.hidden = rows.length === 0;
    const now = JSON.stringify(rows);
    if (now === this.#listed) return;
    this.#listed = now;
    this.#addresses.replaceChildren(...rows.map(([label, url]) => element('li', {},
      element('span', { class: 'label' }, label),
      element('code', {}, url),
      copyButton(() => url, `Copy the ${label} address`))));
  }
}
