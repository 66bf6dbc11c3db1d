// A tiny server on a random loopback port that gives the browser the test page and the players from node_modules.

import { createServer } from 'node:http';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname, extname, join, normalize, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const types = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.map': 'application/json',
};

/** The file behind a request path, or null for anything outside the two folders that are served. */
function fileFor(pathname) {
  for (const [prefix, folder] of [['/page/', 'page'], ['/lib/', 'node_modules']]) {
    if (!pathname.startsWith(prefix)) continue;
    const base = join(root, folder) + sep;
    const path = normalize(join(base, pathname.slice(prefix.length)));
    return path.startsWith(base) ? path : null;
  }
  return null;
}

/** Starts the server; answers `{ origin, close }`. */
export async function servePages() {
  const server = createServer(async (request, response) => {
    try {
      const path = fileFor(decodeURIComponent(new URL(request.url, 'http://localhost').pathname));
      if (!path || !(await stat(path)).isFile()) throw new Error('no such file');
      response.writeHead(200, { 'content-type': types[extname(path)] ?? 'application/octet-stream' });
      createReadStream(path).on('error', () => response.destroy()).pipe(response);
    } catch {
      response.writeHead(404, { 'content-type': 'text/plain' }).end('not found\n');
    }
  });
  await new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  return {
    origin: `http://127.0.0.1:${server.address().port}`,
    close: () => new Promise((resolve) => {
      server.close(resolve);
      server.closeAllConnections();
    }),
  };
}
