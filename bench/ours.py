"""Ours as users have it: the wheel, built and installed once per run into .bench/ours.

An editable install finds its modules by an import hook, which costs every interpreter some 13 ms
before it does anything. The libraries are those of this environment, by a path file, so that no
network is needed and all contestants load the same ones.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import Final

from bench.stage import KEPT, ROOT

HERE: Final = Path(sys.executable).parent
PLACE: Final = KEPT / "ours"
_installed: Final[list[Path]] = []  # the folder of the wheel's programs, once it is there


def install() -> None:
    """Build the wheel from the tree as it is and install it anew."""
    venv.create(PLACE, clear=True, symlinks=True)
    dist = PLACE / "dist"
    _run("-m", "build", "--no-isolation", "--outdir", str(dist), str(ROOT))
    (wheel,) = dist.glob("*.whl")
    python = PLACE / "bin" / "python"
    offline = ("--no-deps", "--no-index", "--quiet", "--disable-pip-version-check")
    _run("-m", "pip", "--python", str(python), "install", *offline, str(wheel))
    (site,) = (PLACE / "lib").glob("python*/site-packages")
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    _installed.append(python.parent)


def program(name: str) -> str:
    """`circusd` or another: of the wheel, or of this environment where none was installed (toy)."""
    return str((_installed or [HERE])[-1] / name)


def _run(*arguments: str) -> None:
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"cannot build ours: {arguments} ended with {done.returncode}\n{done.stderr}")
