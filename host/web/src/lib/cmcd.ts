// CMCD (CTA-5004) for players that do not send it themselves: the keys that are known before playback starts.

/** Streaming format, the `sf` key: other (`o`) for HTTP-FLV, `h` for HLS. */
export type StreamingFormat = 'o' | 'h';

const quoted = (value: string): string => `"${value.replace(/[\\"]/g, '\\$&')}"`;

/** The address with a `CMCD` query: session and content id, streaming format, live stream type. Keys in alphabetical order, as the standard has it. */
export function withCmcd(url: string, sessionId: string, contentId: string, format: StreamingFormat): string {
  const result = new URL(url);
  result.searchParams.set('CMCD', `cid=${quoted(contentId.slice(0, 64))},sf=${format},sid=${quoted(sessionId)},st=l`);
  return result.href;
}
