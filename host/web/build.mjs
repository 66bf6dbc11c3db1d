#!/usr/bin/env node
// Builds the pages into dist/ (or $FLYLOFT_WEB_OUT): two HTML files, the icon, and hashed files under assets/ that never change.
// `--watch` builds again whenever a source changes.

import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createHash } from 'node:crypto';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as esbuild from 'esbuild';

const root = dirname(fileURLToPath(import.meta.url));
const out = resolve(process.env.FLYLOFT_WEB_OUT ?? join(root, 'dist'));
const watch = process.argv.includes('--watch');

/** Copies hls.js's worker under a hashed name: a worker of our own origin needs no blob: in the content security policy. */
async function copyHlsWorker() {
  const source = await readFile(join(root, 'node_modules/hls.js/dist/hls.worker.js'), 'utf8');
  const body = source.replace(/\n?\/\/# sourceMappingURL=.*\s*$/, '\n');
  const name = `hls-worker-${createHash('sha256').update(body).digest('hex').slice(0, 8).toUpperCase()}.js`;
  await mkdir(join(out, 'assets'), { recursive: true });
  await writeFile(join(out, 'assets', name), body);
  return `/assets/${name}`;
}

/** Writes the HTML files; `{{src/…}}` in them stands for the built file of that entry point. */
async function writePages(metafile) {
  const built = new Map();
  for (const [path, output] of Object.entries(metafile.outputs)) {
    if (output.entryPoint) built.set(output.entryPoint, `/assets/${basename(path)}`);
  }
  for (const page of ['index.html', 'watch.html']) {
    const template = await readFile(join(root, 'src', page), 'utf8');
    const html = template.replace(/\{\{(.+?)\}\}/g, (_, entry) => {
      const path = built.get(entry);
      if (!path) throw new Error(`${page} names ${entry}, which is no entry point`);
      return path;
    });
    await writeFile(join(out, page), html);
  }
  await cp(join(root, 'static'), out, { recursive: true });
}

await rm(out, { recursive: true, force: true });
const workerPath = await copyHlsWorker();
const context = await esbuild.context({
  absWorkingDir: root,
  entryPoints: ['src/rooms/main.ts', 'src/watch/main.ts', 'src/styles/rooms.css', 'src/styles/watch.css'],
  outdir: join(out, 'assets'),
  entryNames: '[dir]-[name]-[hash]',
  chunkNames: '[name]-[hash]',
  outbase: 'src',
  bundle: true,
  splitting: true,
  format: 'esm',
  target: ['es2022', 'safari16'],
  minify: !watch,
  sourcemap: watch ? 'inline' : false,
  legalComments: 'linked',
  metafile: true,
  define: { HLS_WORKER_PATH: JSON.stringify(workerPath) },
  logLevel: 'info',
  plugins: [{
    name: 'pages',
    setup(build) {
      build.onEnd(async (result) => {
        if (result.errors.length === 0) await writePages(result.metafile);
      });
    },
  }],
});
if (watch) {
  await context.watch();
} else {
  await context.rebuild();
  await context.dispose();
}
