"""Room: bus -- blake2b without the rest of hashlib, whose import loads OpenSSL first.

Knows:     the standard library's `_blake2`, which is where hashlib has it from too.
Known by:  whatever digests something on the way to the first worker.
Never:     anything else: OpenSSL costs a start 4 ms, and nothing here needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashlib import blake2b
else:
    try:
        from _blake2 import blake2b
    except ImportError:  # an interpreter that has it elsewhere
        from hashlib import blake2b

__all__ = ["blake2b"]
