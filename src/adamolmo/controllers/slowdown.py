"""How many times as long as its profile lets expect a device takes at the moment, followed from request to request.

What a request takes depends on its size and configuration, which the profile knows, and on the machine's speed today,
which it does not. So the ratio of measured to expected latency tells the speed, whatever was chosen. It scatters, like
round-trip times, and is averaged as they are (Jacobson, 1988): each request moves the estimate by a fixed share of what
it was unexpected by, in logarithms, so that half and twice as fast count alike.
"""

import math

SHARE = 0.15  # so that the last 5 to 10 requests count; larger follows the scatter, smaller is late on a step
_LARGEST_SURPRISE = 0.4  # as much counts of one request, 1.5 times as slow as the last ones: a hiccup is no new speed


def follow(slowdown: float, requests: int, latency_ms: float, expected_ms: float) -> float:
    """The slowdown after one more request.

    Args:
        slowdown: before it.
        requests: before it, of the same stream. The first ones count for more: until there are some, the slowdown is
            that of other requests, or none.
    """
    surprise = math.log(latency_ms / (slowdown * expected_ms))
    counted = min(max(surprise, -_LARGEST_SURPRISE), _LARGEST_SURPRISE)
    return slowdown * math.exp(max(SHARE, 1 / (requests + 2)) * counted)
