"""Room: bus -- digests of values: how a spec is referred to without repeating it.

Knows:     bus.codec (bytes of a value), bus.spec.
Known by:  configuration, the arbiter's and the watcher's cores, the reaper.
Never:     digests a secret: env values enter a spec as keyed hashes already.
"""

from __future__ import annotations

from circus.bus.blake import blake2b
from circus.bus.codec import pack
from circus.bus.spec import WatcherSpec, to_data


def spec_digest(spec: WatcherSpec) -> str:
    """16 hex digits over every option; equal specs, equal digests, on any machine."""
    return blake2b(pack(to_data(spec)), digest_size=8).hexdigest()
