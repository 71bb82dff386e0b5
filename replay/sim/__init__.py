"""Room: replay -- the machine around production code: disk, bus, clocks, keeper, strangers.

Knows:     its modules, by their own names.
Known by:  replay.world and the programs around it.
Never:     imports anything by itself.
"""
