// The page at `/`: the rooms that are live, kept up to date, and how to become one of them.

import { ApiError, fetchRooms, type Room } from '../lib/api.ts';
import { backoffMs } from '../lib/backoff.ts';
import { copyButton, element, find, setText } from '../lib/dom.ts';
import { hueOf } from '../lib/format.ts';

const POLL_MS = 4_000;

const list = find<HTMLUListElement>('#rooms');
const empty = find<HTMLElement>('#empty');
const trouble = find<HTMLElement>('#trouble');
const count = find<HTMLElement>('#count');

/** The formats of an output mode, as chips. */
const FORMATS: Record<string, string[]> = { RTMP: ['RTMP', 'HTTP-FLV'], CMAF: ['LL-HLS', 'DASH'], RTMP_CMAF: ['LL-HLS', 'DASH', 'HTTP-FLV', 'RTMP'] };

/** The page of a room: its own address where that is on this server, else the usual path. */
function watchPath(room: Room): string {
  const given = room.urls.watch ? new URL(room.urls.watch) : null;
  return given && given.origin === location.origin ? given.pathname + given.search : `/watch/${encodeURIComponent(room.id)}`;
}

function card(room: Room): HTMLLIElement {
  const paused = room.state === 'LIVE_INACTIVE';
  const backdrop = element('div', { class: 'backdrop', 'aria-hidden': 'true' }, element('span', { class: 'initial' }, [...room.title][0] ?? ''));
  backdrop.style.setProperty('--hue', String(hueOf(room.id)));
  backdrop.append(element('span', { class: 'badge', 'data-tone': paused ? 'quiet' : 'live' }, paused ? 'PAUSED' : 'LIVE'));
  const chips = element('p', { class: 'chips' });
  for (const format of FORMATS[room.mode] ?? []) chips.append(element('span', { class: 'chip' }, format));
  const link = element('a', { class: 'card', href: watchPath(room) }, backdrop, element('div', { class: 'card-text' },
    element('h2', {}, room.title),
    room.ownerName ? element('p', { class: 'owner' }, room.ownerName) : '',
    room.description ? element('p', { class: 'description' }, room.description) : '',
    chips));
  link.setAttribute('aria-label', `${room.title}${room.ownerName ? `, ${room.ownerName}` : ''}, ${paused ? 'paused' : 'live'}`);
  return element('li', {}, link);
}

let shown = '';

function show(rooms: Room[]): void {
  list.setAttribute('aria-busy', 'false');
  trouble.hidden = true;
  empty.hidden = rooms.length > 0;
  document.body.dataset.rooms = rooms.length > 0 ? 'some' : 'none';
  setText(count, rooms.length === 0 ? 'No room is live' : rooms.length === 1 ? '1 room' : `${rooms.length} rooms`);
  // Built again only when something changed, so that focus and hover stay.
  const now = JSON.stringify(rooms);
  if (now === shown) return;
  shown = now;
  const focused = document.activeElement instanceof HTMLAnchorElement ? document.activeElement.pathname : null;
  list.replaceChildren(...rooms.map(card));
  if (focused) [...list.querySelectorAll('a')].find((link) => link.pathname === focused)?.focus();
}

function fillInstructions(): void {
  const host = location.hostname.includes(':') && !location.hostname.startsWith('[') ? `[${location.hostname}]` : location.hostname;
  const server = `rtmp://${host || 'localhost'}/live`;
  const command = `ffmpeg -re -i video.mp4 -c:v libx264 -preset veryfast -g 30 -pix_fmt yuv420p -c:a aac -f flv ${server}/STREAM_KEY`;
  setText(find('#ffmpeg'), command);
  find('.command').append(copyButton(() => command, 'Copy the ffmpeg command'));
  setText(find('#obs-server'), server);
}

let failures = 0;

async function poll(): Promise<void> {
  let wait = POLL_MS;
  if (document.visibilityState === 'visible') {
    try {
      show(await fetchRooms(AbortSignal.timeout(10_000)));
      failures = 0;
    } catch (error) {
      wait = Math.max(POLL_MS, backoffMs(failures, Math.random()));
      failures += 1;
      trouble.hidden = false;
      setText(trouble, error instanceof ApiError && error.kind === 'server'
        ? 'The server could not list its rooms. Trying again.'
        : 'The server does not answer. Trying again.');
    }
  }
  timer = setTimeout(() => void poll(), wait);
}

let timer: ReturnType<typeof setTimeout> | undefined;
document.addEventListener('visibilitychange', () => {
  if (document.visibilityState !== 'visible') return;
  clearTimeout(timer);
  void poll();
});
fillInstructions();
void poll();
