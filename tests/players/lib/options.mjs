// The command line of play.mjs: parsing, checks and the help text.

import { parseArgs } from 'node:util';

export const HELP = `Plays a live stream in a headless Chromium and reports how it went.

  node play.mjs --player hls|dash|shaka|mpegts --url URL [--seconds 30] [--json]
  node play.mjs --player hls,dash,shaka,mpegts --url-hls URL --url-dash URL --url-flv URL
  node play.mjs --player page --url http://…/watch/ROOM [--switch hls,dash,flv]

  --player LIST        which players, all at once in one browser; "page" opens a Flyloft watch page
  --url URL            what to play; --url-hls, --url-dash, --url-flv, --url-page where players differ
  --seconds N          how long to play after the start (30)
  --start-timeout N    seconds that a player has to start (20)
  --live-delay N       seconds behind the live edge for dash.js and shaka (what the manifest says)
  --switch LIST        page only: press these switches in turn, each must play for --switch-seconds (5)
  --screenshot FILE    a PNG at the end; with several players the player's name is put before the ending
  --viewport WxH       size of the page (1280x720)
  --dark               prefer dark colours
  --json               one JSON line per player, nothing else on the standard output

Chromium is /usr/bin/chromium, or $CHROMIUM. Exit code 0: every player played without a fatal error.
1: one did not. 2: the command line was wrong, or the browser did not start.`;

const PLAYERS = { hls: 'url-hls', dash: 'url-dash', shaka: 'url-dash', mpegts: 'url-flv', page: 'url-page' };

function number(values, name, fallback) {
  if (values[name] === undefined) return fallback;
  const value = Number(values[name]);
  if (!Number.isFinite(value) || value <= 0) throw new Error(`--${name} wants a number above 0, not "${values[name]}"`);
  return value;
}

/** Reads the arguments. Throws an Error whose message tells the user what to change. */
export function readOptions(argv) {
  const text = { type: 'string' };
  const flag = { type: 'boolean', default: false };
  const { values } = parseArgs({
    args: argv,
    options: {
      player: text, url: text, 'url-hls': text, 'url-dash': text, 'url-flv': text, 'url-page': text,
      seconds: text, 'start-timeout': text, 'live-delay': text, switch: text, 'switch-seconds': text,
      screenshot: text, viewport: text, dark: flag, json: flag, help: flag,
    },
  });
  if (values.help) return { help: true };
  const names = (values.player ?? '').split(',').filter(Boolean);
  if (names.length === 0) throw new Error(`--player is missing; one or more of ${Object.keys(PLAYERS).join(', ')}`);
  const players = names.map((name) => {
    const option = PLAYERS[name];
    if (!option) throw new Error(`--player "${name}" is not known; one of ${Object.keys(PLAYERS).join(', ')}`);
    const url = values[option] ?? values.url;
    if (!url) throw new Error(`player ${name} has no address: give --${option} or --url`);
    if (!/^https?:\/\//.test(url)) throw new Error(`the address of player ${name} must begin with http:// or https://, not "${url}"`);
    return { name, url };
  });
  const size = /^(\d{2,5})x(\d{2,5})$/.exec(values.viewport ?? '1280x720');
  if (!size) throw new Error(`--viewport wants WIDTHxHEIGHT, not "${values.viewport}"`);
  const switches = (values.switch ?? '').split(',').filter(Boolean);
  if (switches.length > 0 && !names.includes('page')) throw new Error('--switch works only with --player page');
  return {
    players,
    seconds: number(values, 'seconds', 30),
    startTimeout: number(values, 'start-timeout', 20),
    liveDelay: number(values, 'live-delay', undefined),
    switches,
    switchSeconds: number(values, 'switch-seconds', 5),
    screenshot: values.screenshot,
    viewport: { width: Number(size[1]), height: Number(size[2]) },
    dark: values.dark,
    json: values.json,
  };
}
