// The rooms that the development server pretends to have, one for every situation that a page must show well.

const live = (origin, names) => Object.fromEntries(Object.entries({
  rtmp: `rtmp://${new URL(origin).hostname}/live/dev`,
  httpFlv: `${origin}/live/dev.flv`,
  hls: `${origin}/live/dev/index.m3u8`,
  dash: `${origin}/live/dev/index.mpd`,
}).filter(([name]) => names.includes(name)));

/** A token that opens the private room. */
export const PRIVATE_TOKEN = 'let-me-in';

/** The rooms by id. `state` can be changed while the server runs. */
export function makeRooms(origin) {
  const rooms = [
    { id: 'demo', title: 'Opening night at the Fly Loft', description: 'A live test pattern with a clock, straight from the grid. Switch the format above: the picture keeps going.', ownerName: 'Stage door', state: 'LIVE', mode: 'RTMP_CMAF', outputs: ['rtmp', 'httpFlv', 'hls', 'dash'] },
    { id: 'rehearsal', title: 'Rehearsal camera', description: 'Left wing, second bar.', ownerName: 'Mara Lind', state: 'LIVE', mode: 'CMAF', outputs: ['hls', 'dash'] },
    { id: 'control', title: 'Lighting desk', description: '', ownerName: 'Booth', state: 'LIVE', mode: 'RTMP', outputs: ['rtmp', 'httpFlv'] },
    { id: 'paused', title: 'Street festival, main stage', description: 'Back after the sound check.', ownerName: 'City Arts', state: 'LIVE_INACTIVE', mode: 'RTMP_CMAF', outputs: ['rtmp', 'httpFlv', 'hls', 'dash'] },
    { id: 'soon', title: 'The late show', description: 'Doors at nine.', ownerName: 'City Arts', state: 'SCHEDULED', mode: 'RTMP_CMAF', outputs: ['rtmp', 'httpFlv', 'hls', 'dash'], scheduledAt: new Date(Date.now() + 42 * 60_000).toISOString() },
    { id: 'over', title: 'Yesterday’s matinee', description: '', ownerName: 'Stage door', state: 'ENDED', mode: 'CMAF', outputs: ['hls', 'dash'] },
    { id: 'private', title: 'Press preview', description: 'By invitation.', ownerName: 'Press office', state: 'LIVE', mode: 'RTMP_CMAF', outputs: ['rtmp', 'httpFlv', 'hls', 'dash'], token: PRIVATE_TOKEN },
  ];
  return new Map(rooms.map((room) => [room.id, { ...room, urlsOf: () => live(origin, room.outputs) }]));
}

/** The room as the public API shows it. */
export function publicRoom(room, origin) {
  const { id, title, description, ownerName, state, mode, scheduledAt } = room;
  const viewable = state === 'LIVE' || state === 'LIVE_INACTIVE';
  return {
    id, title, description, ownerName, videoRoomState: state, mode, ...(scheduledAt ? { scheduledAt } : {}),
    urls: { ...(viewable ? room.urlsOf() : {}), watch: `${origin}/watch/${id}` },
  };
}
