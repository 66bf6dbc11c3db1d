"""What the component exports: the rule in the types of the contract."""

import rule
from wit_world import exports
from wit_world.exports.room_policy import (
    Action_Publish,
    Decision_Abstain,
    Decision_Allow,
    Decision_Deny,
    Denial,
    Grant,
    Limits,
)


class RoomPolicy(exports.RoomPolicy):
    def decide(self, context, action):
        if not isinstance(action, Action_Publish):
            return Decision_Abstain()
        refusal = rule.publish(action.value.member.app_user_id)
        if refusal:
            return Decision_Deny(Denial(code=refusal[0], reason=refusal[1]))
        limits = Limits(max_bitrate=6_000_000, max_duration=None, max_viewers=None, max_width=None, max_height=None)
        return Decision_Allow(Grant(role=None, permissions=[], limits=limits, record=None, labels=[]))
