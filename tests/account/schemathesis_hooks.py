"""What schemathesis does not know by itself: an SDP offer is text."""

import schemathesis


@schemathesis.serializer("application/sdp")
def sdp(ctx, value):
    return str(value).encode("utf-8", "surrogatepass")
