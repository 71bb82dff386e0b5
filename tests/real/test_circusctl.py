"""`circusctl` and `circus.subscribe` against a real `circusd`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import circus
from circus.bus.record import fields_of

CONFIG = """
[watcher.one]
cmd = "sleep 1000"
numprocesses = 2
"""


def ctl(state_dir: Path, *line: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "circus.circusctl", "--state-dir", str(state_dir), *line]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_daemon_is_followed_asked_and_ended(
    state_dir: Path, reaped: Any, until: Any, tmp_path: Path
) -> None:
    """Started, scaled, stopped, explained and ended from the outside; the record has all of it."""
    config = tmp_path / "one.toml"
    config.write_text(CONFIG, encoding="utf-8")
    command = [sys.executable, "-m", "circus.circusd", "--state-dir", str(state_dir), str(config)]
    with (tmp_path / "log").open("wb") as log:
        daemon = subprocess.Popen(command, stdout=log, stderr=log)
    reaped(daemon)
    with circus.subscribe(state_dir, 0) as records:
        spawned = [next(r for r in records if r.name == "process.spawned") for _ in range(2)]
        next(r for r in records if r.name == "watcher.started")
        assert "one: active\n" == ctl(state_dir, "status").stdout
        assert "3\n" == ctl(state_dir, "incr", "one", "--waiting").stdout
        assert 3 == ctl(state_dir, "stop", "nosuch").returncode
        pid = str(fields_of(spawned[0].body)["pid"])
        assert f"process {pid} of watcher one runs since" in ctl(state_dir, "why", pid).stdout
        assert "ok\n" == ctl(state_dir, "stop", "one", "--waiting").stdout
        why = ctl(state_dir, "why", "one").stdout
        assert "stopped" in why
        assert f"asked by uid {os.geteuid()}" in why
        assert 0 == ctl(state_dir, "quit", "--waiting").returncode
        until(daemon.pid)
    lines = ctl(state_dir, "events", "--json").stdout.splitlines()
    seqs = [json.loads(line)["seq"] for line in lines]
    assert list(range(1, len(lines) + 1)) == seqs
    names = [json.loads(line)["name"] for line in lines]
    assert 3 == names.count("process.exited") == names.count("process.spawned")
