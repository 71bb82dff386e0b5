"""Room: replay -- the verbs of circus-replay: each module has its function and its command line.

Knows:     its modules, by their own names.
Known by:  replay.command, which imports the verb that is asked for; circus.replay's names.
Never:     imports anything by itself.
"""
