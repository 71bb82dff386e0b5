"""Room: bus -- chance as data: one recorded seed per incarnation, draws by key, not by turn.

Knows:     nothing.
Known by:  every core's `decide`, replay.
Never:     keeps a position: one more draw elsewhere shifts nothing.
"""

from __future__ import annotations

from circus.bus.blake import blake2b


class Chance:
    """Counter-based draws from one 64-bit seed."""

    __slots__ = ("_key",)

    def __init__(self, seed: int) -> None:
        self._key = seed.to_bytes(8, "little")

    def draw(self, key: str) -> int:
        """64 bits that depend on the seed and `key` alone; `key` names actor, purpose and input."""
        digest = blake2b(key.encode(), digest_size=8, key=self._key).digest()
        return int.from_bytes(digest, "little")
