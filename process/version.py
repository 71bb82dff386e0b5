"""Room: process -- the version of this program, where even the keeper can afford to read it.

Knows:     nothing.
Known by:  process.successor (says it), arbiter.wiring (records it).
Never:     imports anything.
"""

VERSION = "0.1.0"
