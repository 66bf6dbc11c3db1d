"""Radio streams get HLS and DASH only."""


def cmaf_only(stream, url_mode):
    """Whether the stream gets HLS and DASH only. Who asks for something in the publish URL, shall have it."""
    return url_mode is None and stream.startswith("radio-")
