"""Room: replay -- mutants between the ledger and strangers: gateway, outcomes, reads, subscribers.

Knows:     replay.mutants.mutant.
Known by:  replay.mutants (the register).
Never:     imports what it changes.
"""

from __future__ import annotations

from typing import Final

from circus.replay.mutants.mutant import Mutant

GATEWAY: Final = "circus.arbiter.gateway"
OUTCOMES: Final = "circus.arbiter.outcomes"
READS: Final = "circus.arbiter.reads"
RUNTIME: Final = "circus.arbiter.runtime"
FOLLOW: Final = "circus.bus.follow"
PUBLISH: Final = "circus.bus.publish"

ASKING: Final = (
    Mutant(
        "dedupe_forgotten_on_recovery", RUNTIME,
        "a core that comes back does not know the ids of the commands before it",
        "            for observer in observers:\n",
        "            for observer in observers:\n"
        "                if type(observer).__name__ == \"Outcomes\":\n"
        "                    continue\n",
        ("I-CMD1", "I-IDEM"),
    ),
    Mutant(
        "retry_executed_again", OUTCOMES,
        "a command that comes again under its id is a new command: `incr` counts twice",
        "        return self._seq_of.get(key)\n", "        return None\n",
        ("I-CMD1", "I-IDEM"),
    ),
    Mutant(
        "answer_before_sync", GATEWAY,
        "a change of desired state is confirmed before it is on the platter",
        "        if durable:\n            return seq\n",
        "        if durable:\n            return 0\n",
        ("I-ACKDUR",),
    ),
    Mutant(
        "hole_not_noticed", FOLLOW,
        "a subscriber takes the next live message for the next record",
        "if header.frame_seq != seq + 1 or _count(live.payload) != header.head_seq - seq:\n",
        "if False:\n",
        ("I-SUB",),
    ),
    Mutant(
        "cursor_off_by_one", FOLLOW,
        "a subscriber that reads goes on one record too far",
        "            \"after\": place.seq or 0,\n",
        "            \"after\": (place.seq or -1) + 1,\n",
        ("I-SUB",),
    ),
    Mutant(
        "new_core_believed", FOLLOW,
        "a subscriber does not compare histories when the core is another one",
        "        if before is None or before == header.incarnation:\n", "        if True:\n",
        ("I-SUB",),
    ),
    Mutant(
        "divergence_not_told", READS,
        "who has seen what a power cut took away is given another history without a word",
        "elif read.after > ledger.head or self._differs(read):", "elif read.after > ledger.head:",
        ("I-SUB",),
    ),
)  # fmt: skip
