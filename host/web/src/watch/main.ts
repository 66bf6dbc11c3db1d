// The watch page at `/watch/{roomId}`: follows the room's state and hands the player what there is to play.

import { ApiError, fetchRoom, roomIdOf, type Room } from '../lib/api.ts';
import { backoffMs } from '../lib/backoff.ts';
import { find } from '../lib/dom.ts';
import { apiMessage, isOver, problemMessage, roomMessage, type Message } from '../lib/messages.ts';
import { detectSupport, pickMode, sourcesFor, type Mode } from '../lib/modes.ts';
import { remember, remembered } from '../lib/storage.ts';
import { Controls } from './controls.ts';
import { Glow } from './glow.ts';
import { RoomView } from './room-view.ts';
import { SignalView } from './signal-view.ts';
import { Player } from './player.ts';

/** How often the room is asked for: while it plays, and while something is awaited. */
const POLL_PLAYING_MS = 5_000;
const POLL_WAITING_MS = 2_000;
const POLL_OVER_MS = 30_000;

const page = new URL(location.href);
const roomId = roomIdOf(page.pathname);
const token = page.searchParams.get('token');
const video = find<HTMLVideoElement>('#video');
const support = detectSupport(video);
// Older browsers lack randomUUID on plain http.
const sessionId = crypto.randomUUID?.() ?? `${Date.now().toString(16)}-${Math.random().toString(16).slice(2)}`;

let room: Room | null = null;
let failure: ApiError | null = null;

const player = new Player(video, { sessionId, contentId: roomId ?? '' }, () => render());
const controls = new Controls(player);
const glow = new Glow(video);
const signalView = new SignalView();
const roomView = new RoomView((mode) => {
  remember('mode', mode);
  player.switchTo(mode);
});

/** What tests read; also handy in a browser's console. */
declare global {
  interface Window {
    flyloft: object;
  }
}
window.flyloft = {
  get mode() { return player.mode; },
  get state() { return player.state; },
  get room() { return room?.state ?? null; },
  get playing() { return player.playing; },
  get latency() { return player.latency(); },
  get currentTime() { return video.currentTime; },
  get stalls() { return [...player.stalls]; },
  get errors() { return [...player.errors]; },
  get version() { return player.snapshot().version; },
};

/** The message over the picture, or null when the picture speaks for itself. */
function message(): Message | null {
  if (player.playing) return null;
  if (!room) return failure ? apiMessage(failure.kind, token !== null) : { title: '', text: '', busy: true };
  const about = roomMessage(room, Date.now());
  if (about) return player.state === 'paused' && room.state === 'LIVE_INACTIVE' ? null : about;
  const { problem, state } = player.snapshot();
  if (problem) return problemMessage(problem);
  if (state === 'paused') return null;
  if (state === 'idle' && sourcesFor(room.urls, support).size === 0) {
    return problemMessage({ kind: 'unsupported', detail: '' });
  }
  return { title: '', text: '', busy: true };
}

function render(): void {
  const snapshot = player.snapshot();
  signalView.show(snapshot);
  controls.show(snapshot, message());
  roomView.showMode(snapshot.mode, snapshot.state);
  glow.run(snapshot.state === 'playing');
}

function follow(next: Room): void {
  const before = room;
  // A paused room need not list its addresses; the ones that were there come back with it.
  if (next.state === 'LIVE_INACTIVE' && before && !next.urls.hls && !next.urls.httpFlv && !next.urls.dash) next.urls = { ...before.urls, ...next.urls };
  room = next;
  const sources = sourcesFor(next.urls, support);
  roomView.show(next, [...sources.keys()]);
  if (isOver(next.state)) {
    // What is buffered is played to its end.
    if (player.state !== 'playing') player.stop();
    player.setLive(false);
  } else {
    player.setSources(sources);
    player.setLive(next.state === 'LIVE');
    const idle = player.state === 'idle' || player.mode === null;
    const mode: Mode | null = pickMode(sources, page.searchParams.get('player') ?? remembered('mode'));
    if (next.state === 'LIVE' && idle && mode !== null) player.switchTo(mode);
  }
  render();
}

let failures = 0;

async function poll(): Promise<void> {
  let wait = player.playing ? POLL_PLAYING_MS : POLL_WAITING_MS;
  if (roomId === null) {
    failure = new ApiError('not-found', 'the address names no room');
    render();
    return;
  }
  try {
    follow(await fetchRoom(roomId, token, AbortSignal.timeout(10_000)));
    failure = null;
    failures = 0;
    if (room && isOver(room.state)) wait = POLL_OVER_MS;
  } catch (error) {
    failure = error instanceof ApiError ? error : new ApiError('unreachable', String(error));
    wait = Math.max(wait, backoffMs(failures, Math.random()));
    failures += 1;
    // A room that is gone or closed to us stays on the screen only as long as it plays.
    if ((failure.kind === 'not-found' || failure.kind === 'forbidden') && !player.playing) {
      room = null;
      roomView.clear();
      player.stop();
    }
    render();
  }
  setTimeout(() => void poll(), wait);
}

void poll();
