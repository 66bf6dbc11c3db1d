"""What the component exports: the rule in the types of the contract."""

import rule
from wit_world import exports
from wit_world.exports.webhook import (
    Answer_Abstain,
    Answer_Deliver,
    Delivery,
    Method,
    Outcome_Failed,
    Verdict_Done,
    Verdict_GiveUp,
    Verdict_RetryAfter,
)
from wit_world.imports import store, types


class Webhook(exports.Webhook):
    def deliver(self, context, event):
        message = rule.message(event.kind, event.room_id)
        if message is None:
            return Answer_Abstain()
        headers = [types.Pair(name="content-type", value="text/plain; charset=utf-8")]
        # The addresses of the App's webhook, one in a line.
        urls = (store.get("urls") or "").split()
        return Answer_Deliver(
            [
                Delivery(method=Method.POST, url=url, headers=headers, body=message.encode(), sign=True, timeout=None)
                for url in urls
            ]
        )

    def attempted(self, context, event, delivery, attempt):
        if isinstance(attempt.outcome, Outcome_Failed):
            return Verdict_RetryAfter(None)
        response = attempt.outcome.value
        verdict = rule.verdict(response.status, response.retry_after)
        if verdict == "done":
            return Verdict_Done()
        if verdict == "give-up":
            return Verdict_GiveUp(f"The receiver answered {response.status}.")
        return Verdict_RetryAfter(verdict)
