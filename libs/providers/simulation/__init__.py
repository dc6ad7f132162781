"""What all providers' simulators share: an API with limits, faults and a call book; webhooks planned and told; a clock.

A simulator keeps several books. Its own journal says what happened, the call book who asked for what, and the journal of
the posts what the receiver acknowledged. What was acknowledged and is not found again was lost by us, and by nobody else.
"""

from libs.providers.simulation.api import SimulatedApi
from libs.providers.simulation.callbook import Call, CallBook
from libs.providers.simulation.clock import SimulatedClock
from libs.providers.simulation.faults import FaultKind, Faults
from libs.providers.simulation.limits import SlidingWindow
from libs.providers.simulation.posts import (
    Plan,
    PlannedPost,
    PostJournal,
    PostKind,
    Send,
    http_sender,
    post_all,
)
from libs.providers.simulation.telling import PostFaults, WebhookPoster

__all__ = [
    "Call",
    "CallBook",
    "FaultKind",
    "Faults",
    "Plan",
    "PlannedPost",
    "PostFaults",
    "PostJournal",
    "PostKind",
    "Send",
    "SimulatedApi",
    "SimulatedClock",
    "SlidingWindow",
    "WebhookPoster",
    "http_sender",
    "post_all",
]
