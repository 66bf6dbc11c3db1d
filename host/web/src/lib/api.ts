// The public room API, as the pages use it. Lenient: a server may send more fields, or fewer, than a page knows.

/** What a viewer can open of a room; only what the room's output mode has and its state allows. */
export interface RoomUrls {
  rtmp?: string;
  httpFlv?: string;
  hls?: string;
  dash?: string;
  watch?: string;
}

/** A room as `GET /v1/public/rooms/{id}` shows it. */
export interface Room {
  id: string;
  title: string;
  description: string;
  ownerName: string;
  /** `SCHEDULED`, `LIVE`, `LIVE_INACTIVE`, `ENDED`, `ARCHIVING`, `ARCHIVED`, `ARCHIVE_FAILED`, or one that is newer than this page. */
  state: string;
  /** `RTMP`, `CMAF`, `RTMP_CMAF` or empty. */
  mode: string;
  scheduledAt: Date | null;
  urls: RoomUrls;
}

/** Why a call failed, for the page to put into words. */
export type ApiFailure = 'not-found' | 'forbidden' | 'unreachable' | 'server';

export class ApiError extends Error {
  readonly kind: ApiFailure;

  constructor(kind: ApiFailure, message: string) {
    super(message);
    this.kind = kind;
  }
}

const text = (value: unknown): string => (typeof value === 'string' ? value : '');

/** Addresses that a page may open or show. Anything else, `javascript:` above all, is left out. */
const MEDIA_SCHEMES = new Set(['http:', 'https:', 'rtmp:', 'rtmps:']);

function address(value: unknown, base: string): string | undefined {
  if (typeof value !== 'string' || value === '') return undefined;
  try {
    const url = new URL(value, base);
    return MEDIA_SCHEMES.has(url.protocol) ? url.href : undefined;
  } catch {
    return undefined;
  }
}

function date(value: unknown): Date | null {
  const parsed = typeof value === 'string' ? new Date(value) : null;
  return parsed && !Number.isNaN(parsed.getTime()) ? parsed : null;
}

/** Reads a room from JSON; null when it has no id. Relative addresses are taken from `base`. */
export function parseRoom(value: unknown, base: string): Room | null {
  if (typeof value !== 'object' || value === null) return null;
  const json = value as Record<string, unknown>;
  const id = text(json.id);
  if (id === '') return null;
  const given = typeof json.urls === 'object' && json.urls !== null ? (json.urls as Record<string, unknown>) : {};
  const urls: RoomUrls = {};
  for (const name of ['rtmp', 'httpFlv', 'hls', 'dash', 'watch'] as const) {
    const url = address(given[name], base);
    if (url !== undefined) urls[name] = url;
  }
  return {
    id,
    title: text(json.title) || id,
    description: text(json.description),
    ownerName: text(json.ownerName),
    state: text(json.videoRoomState),
    mode: text(json.mode),
    scheduledAt: date(json.scheduledAt),
    urls,
  };
}

/** The address with the page's token in its query, which is how a private room is opened. */
export function withToken(url: string, token: string | null): string {
  if (!token) return url;
  const result = new URL(url);
  result.searchParams.set('token', token);
  return result.href;
}

/** The room id in the path of a watch page, `/watch/{roomId}`; null when there is none. */
export function roomIdOf(pathname: string): string | null {
  const found = /\/watch\/([^/]+)\/?$/.exec(pathname);
  if (!found?.[1]) return null;
  try {
    return decodeURIComponent(found[1]);
  } catch {
    return null;
  }
}

async function getJson(url: string, signal: AbortSignal): Promise<unknown> {
  let response: Response;
  try {
    response = await fetch(url, { headers: { accept: 'application/json' }, cache: 'no-store', signal });
  } catch (error) {
    if (signal.aborted) throw error;
    throw new ApiError('unreachable', 'the server does not answer');
  }
  if (response.status === 404 || response.status === 410) throw new ApiError('not-found', 'there is no such room');
  if (response.status === 401 || response.status === 403) throw new ApiError('forbidden', 'this room is private');
  if (!response.ok) throw new ApiError('server', `the server answered ${response.status}`);
  try {
    return await response.json();
  } catch {
    throw new ApiError('server', 'the server sent something that is not JSON');
  }
}

/** One room. The token, when there is one, goes with the call and into every media address of the answer. */
export async function fetchRoom(id: string, token: string | null, signal: AbortSignal): Promise<Room> {
  const url = withToken(new URL(`/v1/public/rooms/${encodeURIComponent(id)}`, location.href).href, token);
  const room = parseRoom(await getJson(url, signal), location.href);
  if (!room) throw new ApiError('server', 'the server sent something that is not a room');
  for (const name of ['rtmp', 'httpFlv', 'hls', 'dash'] as const) {
    const media = room.urls[name];
    if (media !== undefined) room.urls[name] = withToken(media, token);
  }
  return room;
}

/** A page asks for at most this many pages of rooms, however many the server has. */
const MAX_LIST_PAGES = 5;

/** The live rooms that anyone may see. */
export async function fetchRooms(signal: AbortSignal): Promise<Room[]> {
  const rooms: Room[] = [];
  let cursor = '';
  for (let page = 0; page < MAX_LIST_PAGES; page += 1) {
    const query = cursor ? `?cursor=${encodeURIComponent(cursor)}` : '';
    const answer = (await getJson(`/v1/public/rooms${query}`, signal)) as { items?: unknown; nextCursor?: unknown } | null;
    const items: unknown[] = Array.isArray(answer?.items) ? answer.items : [];
    for (const item of items) {
      const room = parseRoom(item, location.href);
      if (room) rooms.push(room);
    }
    cursor = text(answer?.nextCursor);
    if (!cursor) break;
  }
  return rooms;
}
