"""`show://NAME` is the file `shows/NAME.mp4` in the media directory."""

import re

SCHEME = "show://"


def file(uri):
    """The path of a show; None if the URI is not a show's, ValueError if the name is wrong."""
    if not uri.startswith(SCHEME):
        return None
    name = uri.removeprefix(SCHEME)
    if not re.fullmatch("[a-z0-9-]+", name):
        raise ValueError(f"{name[:200]!r} is no show: its name has lower-case letters, digits and hyphens.")
    return f"shows/{name}.mp4"
