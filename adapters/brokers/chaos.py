"""What goes wrong between the paper venue and us, on purpose: named profiles, and which message each of them hits.

Every draw is made of the seed and of what it is about, so the same run meets the same faults again. The venue's book is
never wrong: only what is heard of it is late, repeated, out of order, or lost, and has to be asked for.
"""

import hashlib
from typing import Literal

import msgspec

from core.units import NS_PER_S

WINDOW_NS = 10 * NS_PER_S  # the line is up or down for so long at a time

Chaos = Literal["none", "flaky", "storm"]
"""A profile by its name: flaky is a bad day, storm worse than any."""


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """Probabilities: of each report, each submit, or each window of time."""

    dropped: float = 0.0  # reports that never come
    repeated: float = 0.0  # that come twice, the second one late
    late: float = 0.0  # that come up to `late_s` later, and so behind others
    late_s: float = 0.0
    unanswered: float = 0.0  # orders that arrive, and whose answer does not
    refused: float = 0.0  # orders over the venue's rate, which it does not take in
    down: float = 0.0  # windows without a line: nothing leaves, no report comes


PROFILES: dict[Chaos, Profile] = {
    "none": Profile(),
    "flaky": Profile(dropped=0.01, repeated=0.02, late=0.05, late_s=1.0, unanswered=0.01, refused=0.01, down=0.002),
    "storm": Profile(dropped=0.1, repeated=0.1, late=0.3, late_s=3.0, unanswered=0.05, refused=0.05, down=0.05),
}


def drawn(seed: int, *about: object) -> float:
    """A number above 0 and below 1, the same whenever it is drawn."""
    text = ":".join(map(str, (seed, *about)))
    return (int.from_bytes(hashlib.blake2b(text.encode(), digest_size=6).digest()) + 0.5) / 2**48


class Faults:
    """The faults of one line, counted from its beginning: the same messages in the same order meet the same ones."""

    __slots__ = ("_messages", "_profile", "_seed")

    def __init__(self, profile: Profile, seed: int) -> None:
        self._profile = profile
        self._seed = seed
        self._messages = 0

    def _hits(self, probability: float, what: str) -> bool:
        return probability > 0 and drawn(self._seed, what, self._messages) < probability

    def report(self) -> list[int]:
        """How much later than it should each copy of the next report comes, in ns; none: it is lost."""
        self._messages += 1
        if self._hits(self._profile.dropped, "dropped"):
            return []
        late = int(drawn(self._seed, "later", self._messages) * self._profile.late_s * NS_PER_S)
        first = late if self._hits(self._profile.late, "late") else 0
        return [first, late] if self._hits(self._profile.repeated, "repeated") else [first]

    def refuses(self) -> bool:
        """Whether the next order is over the venue's rate."""
        self._messages += 1
        return self._hits(self._profile.refused, "refused")

    def unanswers(self) -> bool:
        """Whether the answer to the order that was last asked about is lost."""
        return self._hits(self._profile.unanswered, "unanswered")

    def is_down(self, now: int) -> bool:
        """Whether there is no line at this moment."""
        return self._profile.down > 0 and drawn(self._seed, "down", now // WINDOW_NS) < self._profile.down
