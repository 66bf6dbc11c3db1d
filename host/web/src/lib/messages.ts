// What the watch page says over the picture, for every situation of a room and its player.

import type { ApiFailure, Room } from './api.ts';
import { formatCountdown } from './format.ts';

/** Why a player can't go on. `ended` is the server closing the stream in an orderly way. */
export type ProblemKind = 'network' | 'not-found' | 'forbidden' | 'media' | 'unsupported' | 'ended';

export interface Problem {
  kind: ProblemKind;
  /** What the player said, for the log and for tests. */
  detail: string;
}

/** A message over the picture. `busy` shows that something is going on. */
export interface Message {
  title: string;
  text: string;
  busy: boolean;
}

const ENDED_STATES = new Set(['ENDED', 'ARCHIVING', 'ARCHIVED', 'ARCHIVE_FAILED']);

/** Has the broadcast ended for good? */
export const isOver = (state: string): boolean => ENDED_STATES.has(state);

/** What to say for a room that can't be played now; null when it can. */
export function roomMessage(room: Room, now: number): Message | null {
  if (room.state === 'LIVE') {
    const playable = room.urls.hls ?? room.urls.dash ?? room.urls.httpFlv;
    return playable ? null : { title: 'Almost there', text: 'The first picture is on its way.', busy: true };
  }
  if (room.state === 'LIVE_INACTIVE') {
    return { title: 'Paused', text: 'Waiting for the broadcaster. The picture comes back by itself.', busy: true };
  }
  if (isOver(room.state)) return { title: 'The broadcast has ended', text: 'Thank you for watching.', busy: false };
  const countdown = room.scheduledAt ? formatCountdown(room.scheduledAt.getTime() - now) : null;
  return {
    title: 'Starts soon',
    text: countdown ? `This room opens ${countdown}. Keep this page open.` : 'This room has not started yet. Keep this page open.',
    busy: true,
  };
}

/** What to say when the room itself could not be asked for. */
export function apiMessage(failure: ApiFailure, hasToken: boolean): Message {
  switch (failure) {
    case 'not-found':
      return { title: 'No such room', text: 'Check the link, or pick one of the live rooms.', busy: false };
    case 'forbidden':
      return hasToken
        ? { title: 'This link no longer works', text: 'The room is private and its token was refused. Ask for a new link.', busy: false }
        : { title: 'This room is private', text: 'Open it with the link that you were given; it carries a token.', busy: false };
    case 'unreachable':
      return { title: 'No connection', text: 'The server does not answer. Trying again.', busy: true };
    case 'server':
      return { title: 'Something is wrong', text: 'The server could not say how this room is doing. Trying again.', busy: true };
  }
}

/** What to say while a player that failed is being started again. */
export function problemMessage(problem: Problem): Message {
  switch (problem.kind) {
    case 'network':
      return { title: 'Connection lost', text: 'Trying again.', busy: true };
    case 'not-found':
      return { title: 'Waiting for the stream', text: 'It should be here any moment.', busy: true };
    case 'forbidden':
      return { title: 'Not allowed', text: 'The server does not let this viewer in. Trying again.', busy: true };
    case 'media':
      return { title: 'The picture broke off', text: 'Starting the player again.', busy: true };
    case 'unsupported':
      return { title: 'This format does not play here', text: 'Your browser lacks what it needs. Pick another format below.', busy: false };
    case 'ended':
      return { title: 'Waiting for the stream', text: 'The broadcaster dropped out. Trying again.', busy: true };
  }
}
