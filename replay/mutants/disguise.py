"""Room: replay -- an import hook: one module of this process is imported with a mutant's text.

Knows:     replay.mutants.mutant.
Known by:  `python -m circus.replay.mutants`, which is a process of its own for each mutant.
Never:     touches a file, or a module that has been imported.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType

from circus.replay.mutants.mutant import Mutant


class MutantLoader(SourceFileLoader):
    """Compiles what the mutant makes of the source; never from or into a cache."""

    def __init__(self, mutant: Mutant, path: str) -> None:
        super().__init__(mutant.module, path)
        self._mutant = mutant

    def get_code(self, fullname: str) -> CodeType:
        """The changed module."""
        source = self.get_source(fullname)
        assert source is not None, fullname
        return compile(self._mutant.applied(source), self.path, "exec", dont_inherit=True)


class Disguise(MetaPathFinder):
    """Finds the mutant's module before anybody else does."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Only for the one module."""
        if fullname != self._mutant.module:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        assert spec is not None, fullname
        assert spec.origin is not None, fullname
        spec.loader = MutantLoader(self._mutant, spec.origin)
        return spec


def put_on(mutant: Mutant) -> None:
    """From now on this process has the mutant's code."""
    assert mutant.module not in sys.modules, f"{mutant.module} is imported already"
    sys.meta_path.insert(0, Disguise(mutant))
