// A live test stream for the people who work on the pages: ffmpeg makes it, this module hands it out as HTTP-FLV, HLS and DASH.
// Segments are given to players while ffmpeg is still writing them, as a low-latency origin does.

import { spawn } from 'node:child_process';

const KEEP_FILES = 400;
const FLV_HEADER = 9 + 4;
const FLV_BACKLOG = 8 << 20;

const source = (text) => [
  '-re', '-f', 'lavfi', '-i',
  `gradients=s=1280x720:r=30:c0=0x0b1026:c1=0x3b1d60:c2=0xb4472f:c3=0xf0a35e:nb_colors=4:speed=0.008,drawtext=text='%{localtime}':fontsize=88:fontcolor=white:x=(w-tw)/2:y=h/2-70,drawtext=text='${text}  %{n}':fontsize=34:fontcolor=white@0.8:x=(w-tw)/2:y=h/2+50`,
  '-re', '-f', 'lavfi', '-i', 'sine=frequency=330:sample_rate=48000',
  '-c:v', 'libx264', '-preset', 'ultrafast', '-tune', 'zerolatency', '-pix_fmt', 'yuv420p', '-b:v', '1500k', '-g', '30',
  '-c:a', 'aac', '-b:a', '96k', '-ar', '48000', '-f', 'flv', 'pipe:1',
];

const cmaf = (origin) => [
  '-f', 'flv', '-i', 'pipe:0', '-c', 'copy', '-f', 'dash', '-method', 'PUT', '-http_persistent', '1',
  '-seg_duration', '1', '-frag_type', 'duration', '-frag_duration', '0.2', '-window_size', '8', '-extra_window_size', '10',
  '-ldash', '1', '-streaming', '1', '-use_template', '1', '-use_timeline', '0', '-target_latency', '2',
  '-utc_timing_url', `${origin}/dev/time`, '-hls_playlist', '1', '-hls_master_name', 'index.m3u8', `${origin}/dev/put/index.mpd`,
];

/** Files that grow while they are read. */
class GrowingFiles {
  #files = new Map();

  put(name, request) {
    const file = { chunks: [], done: false, readers: new Set() };
    const publish = () => {
      this.#files.delete(name);
      this.#files.set(name, file);
      while (this.#files.size > KEEP_FILES) this.#files.delete(this.#files.keys().next().value);
    };
    // A playlist is replaced in one go, so that no reader sees half of one; a segment is readable as it grows.
    const playlist = /\.(m3u8|mpd)$/.test(name);
    if (!playlist) publish();
    request.on('data', (chunk) => {
      file.chunks.push(chunk);
      for (const reader of file.readers) reader.write(chunk);
    });
    request.on('close', () => {
      file.done = true;
      if (playlist) publish();
      for (const reader of file.readers) reader.end();
      file.readers.clear();
    });
  }

  delete(name) {
    this.#files.delete(name);
  }

  /** Sends what is there and then what comes; false when there is no such file. */
  send(name, response, headers) {
    const file = this.#files.get(name);
    if (!file) return false;
    response.writeHead(200, headers);
    for (const chunk of file.chunks) response.write(chunk);
    if (file.done) {
      response.end();
    } else {
      file.readers.add(response);
      response.on('close', () => file.readers.delete(response));
    }
    return true;
  }}

/** Splits an FLV byte stream into tags and gives every viewer the configuration, the last group of pictures, then all that follows. */
class FlvFanOut {
  #pending = Buffer.alloc(0);
  #header = null;
  #setup = new Map();
  #group = [];
  #viewers = new Set();

  push(chunk) {
    this.#pending = Buffer.concat([this.#pending, chunk]);
    if (!this.#header) {
      if (this.#pending.length < FLV_HEADER) return;
      this.#header = this.#pending.subarray(0, FLV_HEADER);
      this.#pending = this.#pending.subarray(FLV_HEADER);
    }
    while (this.#pending.length >= 11) {
      const size = 11 + this.#pending.readUIntBE(1, 3) + 4;
      if (this.#pending.length < size) return;
      this.#tag(this.#pending.subarray(0, size));
      this.#pending = this.#pending.subarray(size);
    }
  }

  #tag(tag) {
    const type = tag[0] & 0x1f;
    const configuration = type === 18 || tag[12] === 0;
    if (configuration) {
      this.#setup.set(type, tag);
    } else {
      if (type === 9 && tag[11] >> 4 === 1) this.#group = [];
      this.#group.push(tag);
    }
    for (const viewer of this.#viewers) {
      if (viewer.writableLength > FLV_BACKLOG) viewer.destroy();
      else viewer.write(tag);
    }
  }

  get ready() {
    return this.#group.length > 0;
  }

  add(viewer) {
    viewer.write(Buffer.concat([this.#header, ...this.#setup.values(), ...this.#group]));
    this.#viewers.add(viewer);
    viewer.on('close', () => this.#viewers.delete(viewer));
  }

  end() {
    for (const viewer of this.#viewers) viewer.end();
    this.#viewers.clear();
  }
}

/** The live test stream. `handle` answers the requests that belong to it. */
export class LiveMedia {
  #files = new GrowingFiles();
  #flv = new FlvFanOut();
  #children = [];
  #log;

  constructor(log) {
    this.#log = log;
  }

  get running() {
    return this.#children.length > 0;
  }

  /** Starts ffmpeg, which sends its segments back to `origin`. */
  start(origin, text = 'Flyloft development') {
    if (this.running) return;
    this.#flv = new FlvFanOut();
    const common = ['-hide_banner', '-nostdin', '-loglevel', 'error'];
    const encoder = spawn('ffmpeg', [...common, ...source(text)], { stdio: ['ignore', 'pipe', 'inherit'] });
    const packager = spawn('ffmpeg', [...common, ...cmaf(origin)], { stdio: ['pipe', 'ignore', 'inherit'] });
    encoder.stdout.on('data', (chunk) => this.#flv.push(chunk));
    encoder.stdout.pipe(packager.stdin);
    packager.stdin.on('error', () => {});
    for (const child of [encoder, packager]) child.on('error', (error) => this.#log(`ffmpeg: ${error.message}`));
    this.#children = [encoder, packager];
  }

  /** Stops ffmpeg; viewers of the FLV see the end of the stream, the playlists stop moving. */
  stop() {
    for (const child of this.#children) child.kill('SIGKILL');
    this.#children = [];
    this.#flv.end();
  }

  /** Answers a request for media; false when the path is not one of ours. */
  handle(request, response, path) {
    if (path.startsWith('/dev/put/')) {
      const name = path.slice('/dev/put/'.length);
      if (request.method === 'PUT') {
        this.#files.put(name, request);
        request.on('end', () => response.writeHead(200).end());
        return true;
      }
      if (request.method === 'DELETE') {
        this.#files.delete(name);
        response.writeHead(204).end();
        return true;
      }
      return false;
    }
    if (path === '/dev/time') {
      response.writeHead(200, { 'content-type': 'text/plain', 'cache-control': 'no-store' }).end(new Date().toISOString());
      return true;
    }
    if (path === '/live/dev.flv' && this.#flv.ready) {
      response.writeHead(200, { 'content-type': 'video/x-flv', 'cache-control': 'no-store' });
      this.#flv.add(response);
      return true;
    }
    if (path.startsWith('/live/dev/')) {
      const name = path.slice('/live/dev/'.length);
      const type = { m3u8: 'application/vnd.apple.mpegurl', mpd: 'application/dash+xml' }[name.split('.').pop()] ?? 'video/mp4';
      return this.#files.send(name, response, { 'content-type': type, 'cache-control': 'no-store' });
    }
    return false;
  }
}
