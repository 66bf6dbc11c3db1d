#!/usr/bin/env node
// Serves the built pages with a pretended room API and a live test stream made by ffmpeg, for work on the pages
// without a Flyloft server. Run `npm run build` first, or `npm run build -- --watch` beside it.
//
//   node dev-server.mjs [--port 8200] [--empty] [--json]
//   POST /dev/rooms/{id}?state=LIVE_INACTIVE   changes a room's state
//   POST /dev/stop, /dev/start                 takes the stream away and brings it back

import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { dirname, extname, join, normalize, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { LiveMedia } from './dev/media.mjs';
import { PRIVATE_TOKEN, makeRooms, publicRoom } from './dev/rooms.mjs';

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '8200' },
    empty: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
});
const dist = (process.env.FLYLOFT_WEB_OUT ?? join(dirname(fileURLToPath(import.meta.url)), 'dist')) + sep;
const types = {
  '.html': 'text/html; charset=utf-8', '.js': 'text/javascript; charset=utf-8', '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml', '.json': 'application/json',
};
// What README.md asks of the server, so that a page that breaks it is seen here first.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self' blob: http: https:; "
  + "connect-src 'self' http: https:; worker-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

const media = new LiveMedia((message) => console.error(message));
let origin = '';
let rooms = new Map();

const json = (response, status, body) => {
  response.writeHead(status, { 'content-type': status >= 400 ? 'application/problem+json' : 'application/json', 'cache-control': 'no-store' });
  response.end(JSON.stringify(body));
};
const problem = (response, status, title, detail) => json(response, status, { type: 'about:blank', title, status, detail });

function api(response, url) {
  if (url.pathname === '/v1/public/rooms') {
    const items = values.empty ? [] : [...rooms.values()]
      .filter((room) => !room.token && room.state.startsWith('LIVE'))
      .map((room) => publicRoom(room, origin));
    return json(response, 200, { items, nextCursor: null });
  }
  const room = rooms.get(decodeURIComponent(url.pathname.slice('/v1/public/rooms/'.length)));
  if (!room) return problem(response, 404, 'Not Found', 'there is no such room');
  if (room.token && url.searchParams.get('token') !== room.token) return problem(response, 403, 'Forbidden', 'this room is private; its link carries a token');
  return json(response, 200, publicRoom(room, origin));
}

async function page(response, pathname) {
  const name = pathname === '/' ? 'index.html' : /^\/watch\/[^/]+$/.test(pathname) ? 'watch.html' : pathname.slice(1);
  const path = normalize(join(dist, name));
  if (!path.startsWith(dist)) return response.writeHead(404).end();
  try {
    const body = await readFile(path);
    response.writeHead(200, { 'content-type': types[extname(path)] ?? 'application/octet-stream', 'content-security-policy': policy, 'cache-control': 'no-cache' });
    return response.end(body);
  } catch {
    return response.writeHead(404, { 'content-type': 'text/plain' }).end('not found; did you run "npm run build"?\n');
  }
}

const server = createServer((request, response) => {
  const url = new URL(request.url, 'http://localhost');
  response.setHeader('access-control-allow-origin', '*');
  if (media.handle(request, response, url.pathname)) return undefined;
  if (request.method === 'POST' && url.pathname === '/dev/stop') {
    media.stop();
    return json(response, 200, { running: false });
  }
  if (request.method === 'POST' && url.pathname === '/dev/start') {
    media.start(origin);
    return json(response, 200, { running: true });
  }
  if (request.method === 'POST' && url.pathname.startsWith('/dev/rooms/')) {
    const room = rooms.get(url.pathname.slice('/dev/rooms/'.length));
    if (!room) return problem(response, 404, 'Not Found', 'there is no such room');
    room.state = url.searchParams.get('state') ?? room.state;
    return json(response, 200, publicRoom(room, origin));
  }
  if (url.pathname.startsWith('/v1/public/rooms')) return api(response, url);
  return void page(response, url.pathname);
});

const stop = () => {
  media.stop();
  server.close();
  server.closeAllConnections();
};
process.on('SIGINT', stop);
process.on('SIGTERM', stop);
server.listen(Number(values.port), '127.0.0.1', () => {
  origin = `http://127.0.0.1:${server.address().port}`;
  rooms = makeRooms(origin);
  media.start(origin);
  if (values.json) {
    console.log(JSON.stringify({ origin, hls: `${origin}/live/dev/index.m3u8`, dash: `${origin}/live/dev/index.mpd`, flv: `${origin}/live/dev.flv` }));
  } else {
    console.log(`pages: ${origin}/\nrooms: ${[...rooms.keys()].map((id) => `${origin}/watch/${id}`).join('\n       ')}\nthe private room wants ?token=${PRIVATE_TOKEN}`);
  }
});
