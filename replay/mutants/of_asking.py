"""Room: replay -- mutants between the ledger and strangers: gateway, outcomes, reads, subscribers.

Knows:     replay.mutants.mutant.
Known by:  replay.mutants (the register).
Never:     imports what it changes.
"""

from __future__ import annotations

from typing import Final

from circus.replay.mutants.mutant import Mutant

GATEWAY: Final = "circus.arbiter.gateway"
READS: Final = "circus.arbiter.reads"
OUTCOMES: Final = "circus.arbiter.outcomes"
MEMORY: Final = "circus.arbiter.memory"
FOLLOW: Final = "circus.bus.follow"

ASKING: Final = (
    Mutant(
        "dedupe_forgotten_on_recovery", MEMORY,
        "a core that comes back does not know the ids of the commands before it",
        "dict.fromkeys(Outcomes.watches, self.outcomes.observe)", "{}",
        ("I-FOLD", "I-CMD1", "I-IDEM"),
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
        "the first record of each frame that was read is taken for one that was had",
        "Batch(after, frame.payload, chain8, last)",
        "Batch(after + 1, frame.payload, chain8, last)",
        ("I-SUB",),
    ),
    Mutant(
        "new_core_believed", FOLLOW,
        "a subscriber does not compare histories when the core is another one",
        "        if before is None or before == header.core:\n", "        if True:\n",
        ("I-SUB",),
    ),
    Mutant(
        "divergence_not_told", READS,
        "who has seen what a power cut took away is given another history without a word",
        "elif read.after > ledger.head or self._differs(read):", "elif read.after > ledger.head:",
        ("I-SUB",),
    ),
)  # fmt: skip
