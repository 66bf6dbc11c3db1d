// Takes webhooks on loopback, checks every signature with the official library, and writes a line for each into a file.
//
//   node receive.mjs --port PORT --log FILE --secret-file FILE [--trouble PERCENT]
//
// PORT 0 lets the system choose. The first line on standard output is the port. A delivery is in the file before it is answered with
// success, as a backend would commit it. With trouble, that share of the deliveries is failed, hung, cut off, or taken without an answer.

import { appendFileSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { parseArgs } from 'node:util';
import { Webhook } from 'standardwebhooks';

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '0' },
    log: { type: 'string' },
    'secret-file': { type: 'string' },
    trouble: { type: 'string', default: '0' },
  },
});
const trouble = Number(values.trouble) / 100;
const webhook = () => new Webhook(readFileSync(values['secret-file'], 'utf8').trim());
const write = (line) => appendFileSync(values.log, `${JSON.stringify(line)}\n`);

function take(headers, body) {
  try {
    const event = webhook().verify(body, headers);
    const { id, type } = event;
    write({ message: headers['webhook-id'], id, type, seq: event.data.seq, room: event.data.roomId ?? null });
    return 204;
  } catch (error) {
    write({ refused: String(error), message: headers['webhook-id'] });
    return 400;
  }
}

const server = createServer((request, response) => {
  const parts = [];
  request.on('data', (part) => parts.push(part));
  request.on('error', () => {});
  request.on('end', () => {
    const body = Buffer.concat(parts).toString('utf8');
    const kind = Math.random() < trouble ? Math.floor(Math.random() * 5) : -1;
    switch (kind) {
      case 0:
        return response.writeHead(500).end('no');
      case 1:
        return response.writeHead(503, { 'retry-after': '0' }).end();
      case 2:
        return undefined; // Hangs until the other side gives up.
      case 3:
        return request.socket.destroy();
      case 4:
        take(request.headers, body); // Taken, but the sender never learns of it.
        return request.socket.destroy();
      default:
        return response.writeHead(take(request.headers, body)).end();
    }
  });
});
server.listen(Number(values.port), '127.0.0.1', () => console.log(server.address().port));
