"""Room: replay -- the simulated Linux: processes, signals, waits, and the programs that run on it.

Knows:     its modules, by their own names.
Known by:  replay.world and the programs around it.
Never:     imports anything by itself.
"""
