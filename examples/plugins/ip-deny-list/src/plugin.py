"""What the component exports: the rule in the types of the contract."""

import rule
from wit_world import exports
from wit_world.exports.room_policy import (
    Action_Join,
    Action_Play,
    Action_Publish,
    Decision_Abstain,
    Decision_Deny,
    Denial,
)
from wit_world.imports import store


class RoomPolicy(exports.RoomPolicy):
    def decide(self, context, action):
        if isinstance(action, (Action_Publish, Action_Play, Action_Join)):
            address = action.value.connection.remote_ip
            if rule.denied(address, store.get("deny") or ""):
                reason = f"The address {address} may not connect. Ask the operator if that is a mistake."
                return Decision_Deny(Denial(code="address-denied", reason=reason))
        return Decision_Abstain()
