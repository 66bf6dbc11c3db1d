"""What the component exports: the rule in the types of the contract."""

import rule
from wit_world import exports
from wit_world.exports.output_mode import Answer_Abstain, Answer_UseOutputs, Outputs
from wit_world.imports import types


class OutputMode(exports.OutputMode):
    def resolve(self, context, request):
        if not rule.cmaf_only(request.stream, request.url_mode):
            return Answer_Abstain()
        return Answer_UseOutputs(Outputs(mode=types.OutputMode.CMAF, transcoding_profile=None))
