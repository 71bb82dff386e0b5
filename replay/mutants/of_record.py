"""Room: replay -- mutants of the record: switchboard, ledger, recovery, timers, projection.

Knows:     replay.mutants.mutant.
Known by:  replay.mutants (the register).
Never:     imports what it changes.
"""

from __future__ import annotations

from typing import Final

from circus.replay.mutants.mutant import Mutant

SWITCHBOARD: Final = "circus.bus.switchboard"
MACHINE: Final = "circus.bus.machine"
TIMERS: Final = "circus.bus.timers"
PAST: Final = "circus.bus.past"
SKIM: Final = "circus.bus.skim"
LEDGER: Final = "circus.bus.ledger"
RECOVERY: Final = "circus.bus.recovery"
WRITER: Final = "circus.bus.writer"
CHANCE: Final = "circus.bus.chance"
CODEC: Final = "circus.bus.codec"
SIM_BUS: Final = "circus.replay.sim.bus"
RUNTIME: Final = "circus.arbiter.runtime"

RECORD: Final = (
    Mutant(
        "frame_written_after_effect", SWITCHBOARD,
        "everybody is told before the frame is in the ledger",
        "        chains = self._log.append(batch.frames, now)\n"
        "        assert self._log.head == batch.seq - 1, (self._log.head, batch.seq)\n"
        "        self.last = batch.records[-1]\n"
        "        self._tell(batch)\n",
        "        self.last = batch.records[-1]\n"
        "        self._tell(batch)\n"
        "        chains = self._log.append(batch.frames, now)\n",
        ("I-WAL", "I-PREFIX", "I-RES", "I-REAP1"),
    ),
    Mutant(
        "effects_on_credit", RUNTIME,
        "the reaper is asked before the decision is in the ledger",
        "        moved = self.switchboard.flush()\n",
        "        for record in self._past.spawns.undecided.values():\n"
        "            if record.incarnation == self.switchboard.incarnation:\n"
        "                self.reaper.perform(record)\n"
        "        moved = self.switchboard.flush()\n",
        ("I-SPAWN1", "I-RES", "I-ORDER"),
    ),
    Mutant(
        "duplicate_command_executed", SKIM,
        "an input that was answered before a crash is given again",
        "        while inbox and inbox[0].seq <= cause:\n", "        while False:\n",
        ("I-FOLD", "I-DET", "I-CMD-OUT", "I-FENCE"),
    ),
    Mutant(
        "input_lost_in_a_crash", PAST,
        "inputs that nobody had answered are not given again",
        "        return [waiting[seq] for seq in sorted(waiting)]\n", "        return []\n",
        ("I-DET", "I-CMD-OUT", "I-CONV"),
    ),
    Mutant(
        "inputs_again_in_any_order", PAST,
        "unanswered inputs are given again in the wrong order",
        "        return [waiting[seq] for seq in sorted(waiting)]\n",
        "        return [waiting[seq] for seq in sorted(waiting, reverse=True)]\n",
        ("I-FENCE", "I-DET", "I-FOLD"),
    ),
    Mutant(
        "barrier_skipped", RUNTIME,
        "actors get mail before the keeper's list is settled",
        "        if not self._awake:\n"
        "            return False\n",
        "",
        ("I-RES", "I-ORDER", "I-DET", "I-FOLD"),
    ),
    Mutant(
        "open_signals_forgotten", RUNTIME,
        "a signal that met the end of a core has no outcome",
        "        for record in self._past.spawns.signals.values():\n",
        "        for record in ():\n",
        ("I-LOG-SIG",),
    ),
    Mutant(
        "incarnation_not_synced", RUNTIME,
        "an incarnation begins to act before it is on the platter",
        "        self._ledger.sync(self._clock.now())\n", "",
        ("I-PREFIX",),
    ),
    Mutant(
        "timers_not_rearmed", SKIM,
        "a core that comes back has forgotten what was armed",
        "        observers += [found.timers.fold] if kind in OF_TIMERS else []\n", "",
        ("I-FOLD", "I-STOPSEQ", "I-CONV", "I-BACKOFF", "I-CMD-OUT"),
    ),
    Mutant(
        "timers_in_wall_time", TIMERS,
        "a timer is due by the wall clock",
        "            due = record.boot + body.duration\n",
        "            due = record.at + body.duration - 1_699_999_900_000_000_000\n",
        ("I-STOPSEQ", "I-BACKOFF", "I-CONV"),
    ),
    Mutant(
        "chance_not_recorded", CHANCE,
        "a draw depends on something that is not on record",
        "        return int.from_bytes(digest, \"little\")\n",
        "        return int.from_bytes(digest, \"little\") ^ id(self) << 32\n",
        ("I-DET",),
    ),
    Mutant(
        "time_forgotten_on_the_way", MACHINE,
        "a host believes a record with another time than the ledger's",
        "actor.address, place.now, self._incarnation)\n"
        "        evolve",
        "actor.address, Moment(0, 0), self._incarnation)\n"
        "        evolve",
        ("I-FOLD",),
    ),
    Mutant(
        "torn_tail_kept", RECOVERY,
        "frames are appended behind a torn tail",
        "        usable = _cut(disk, directory, cut, newest.raw[segment.end :])\n", "",
        ("I-PREFIX", "I-CHAIN"),
    ),
    Mutant(
        "chain_not_continued", LEDGER,
        "a frame's digest does not include the frame before it",
        "        self.head, self.chain = seq - 1, chain\n", "        self.head = seq - 1\n",
        ("I-CHAIN", "I-PREFIX"),
    ),
    Mutant(
        "seq_reused_after_crash", LEDGER,
        "the last number before a crash is given a second time",
        "        ledger.head, ledger.chain = newest.next_seq - 1, newest.chain\n",
        "        ledger.head, ledger.chain = newest.next_seq - 2, newest.chain\n",
        ("I-SEQ", "I-CHAIN", "I-PREFIX"),
    ),
    Mutant(
        "field_lost_on_the_wire", CODEC,
        "a record is read without the slot that it is about",
        'get("slot"), get("spawn_id"),', 'None, get("spawn_id"),',
        ("I-WIRE", "I-FOLD", "I-DET"),
    ),
    Mutant(
        "degraded_stops_supervision", WRITER,
        "a disk that refuses ends the core",
        "        except OSError as error:\n"
        "            self._fail(error, now)\n"
        "            return\n"
        "        end",
        "        except OSError:\n"
        "            raise\n"
        "        end",
        ("I-DEGRADE", "OSError"),  # nobody catches it: the world ends with it
    ),
    Mutant(
        "gap_not_declared", WRITER,
        "the disk works again and nobody is told what is missing",
        "        return memory.gap(lost_from)\n",
        "        memory.gap(lost_from)\n"
        "        return None\n",
        ("I-DEGRADE",),
    ),
    Mutant(
        "stale_letters_believed", SIM_BUS,
        "mail of a dead core is given to its successor (the rule of the transport, in its model)",
        "            mine = letter.incarnation == incarnation\n", "            mine = True\n",
        ("I-FENCE", "I-DET", "I-FOLD"),
    ),
)  # fmt: skip
