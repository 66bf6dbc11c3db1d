/** Radio streams get HLS and DASH only. Everything else is left to the next plugin. */
export function resolve(context, request) {
  // Who asks for something in the publish URL, shall have it.
  if (request.urlMode !== null || !request.stream.startsWith('radio-')) return { tag: 'abstain' };
  return { tag: 'use-outputs', val: { mode: 'cmaf', transcodingProfile: null } };
}
