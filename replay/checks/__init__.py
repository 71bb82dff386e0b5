"""Room: replay -- what must hold, whatever happens: the invariants and their witnesses.

Knows:     its modules, by their own names.
Known by:  replay.world and the programs around it.
Never:     imports anything by itself.
"""
