/** Only the team may publish. Everything else is left to the next plugin. */
export function decide(context, action) {
  if (action.tag !== 'publish') return { tag: 'abstain' };
  const id = action.val.member.appUserId;
  if (!id.startsWith('team-')) {
    return { tag: 'deny', val: { code: 'not-in-the-team', reason: `${id} is not in the team. Ask the studio to be added.` } };
  }
  return {
    tag: 'allow',
    val: {
      role: null,
      permissions: [],
      limits: { maxBitrate: 6_000_000, maxDuration: null, maxViewers: null, maxWidth: null, maxHeight: null },
      record: null,
      labels: [],
    },
  };
}
