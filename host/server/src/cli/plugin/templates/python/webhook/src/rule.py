"""Tells in words when a room goes live."""


def message(kind, room_id):
    """What is told of an event; None leaves it to the next plugin."""
    if kind != "videoRoom.live" or room_id is None:
        return None
    return f"Room {room_id} is live."


def verdict(status, retry_after):
    """What comes of an answer: "done", "give-up", or the milliseconds after which to try again. None leaves them to the host."""
    if 200 <= status < 300:
        return "done"
    if status == 410:
        return "give-up"
    return retry_after
