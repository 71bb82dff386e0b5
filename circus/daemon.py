"""Room: front -- the core's process under the keeper: configuration in, one engine, exit code out.

Knows:     arbiter.wiring, arbiter.config, circus.places.
Known by:  circusd, which tells the keeper how to start it.
Never:     starts a process itself; may be killed at any moment (DESIGN.md, 7).

A bad configuration ends it with 78 before anything is touched, and the keeper passes that on.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import signal
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import zmq

from circus.arbiter.config_cache import last_good, load_cached
from circus.arbiter.config_problems import ConfigProblems
from circus.arbiter.config_values import Config, to_configure
from circus.arbiter.verbs import Refusal
from circus.arbiter.wiring import WireOptions, Wiring, is_later, open_engine
from circus.bus import events
from circus.bus.clock import boot_id
from circus.bus.codec import records_of
from circus.bus.events import SignalReceived
from circus.bus.ledger import StorageFailed
from circus.bus.past import Unfoldable
from circus.bus.record import Record
from circus.bus.shapes import altered
from circus.bus.values import ARBITER
from circus.bus.vault import Vault, VaultError
from circus.bus.wire import OS_ERROR
from circus.operator_log import OperatorLog
from circus.pidfile import Pidfile
from circus.places import Places, places_in
from circus.process.link import Link, LinkClosed

if TYPE_CHECKING:
    from circus.arbiter.engine import Engine
    from circus.bus import commands

COMM: Final = "circus-core"
ORDER_BYTES_MAX: Final = 64 * 1024
# Records and drafts die by their reference counts. The default of 700 would look at all of them a
# thousand times in a stop of 500; what cycles there are (exceptions, mostly) can wait longer.
GARBAGE_THRESHOLDS: Final = (20_000, 50, 50)


class Source:
    """The configuration file, read at the start and again on SIGHUP and `reloadconfig`."""

    def __init__(self, path: str, vault: Vault, *, cache: str, insecure_tcp: bool) -> None:
        self.path = path
        self.native = path.endswith(".toml")
        self.vault = vault
        self._cache = cache
        self._insecure_tcp = insecure_tcp

    def read(self) -> Config:
        """The file as it is now; ConfigProblems has all that is wrong with it."""
        config = load_cached(
            self.path, os.environ, vault=self.vault, cache=self._cache,
            insecure_tcp=self._insecure_tcp,
        )  # fmt: skip
        self.vault.save()
        return config

    def read_first(self, state_dir: str) -> Config:
        """At the start of a core. For one that comes back beside living workers a file that was
        broken meanwhile changes nothing, as at a reload."""
        try:
            return self.read()
        except ConfigProblems as error:
            last = last_good(self._cache, self.vault) if _comes_back(state_dir) else None
            if last is None:
                raise
            _complain(*map(str, error.problems), "circus-core: goes on with what was good last")
            return last

    def configure(self, config: Config) -> commands.ArbiterConfigure:
        """The command for the arbiter. SIGHUP reloads the watchers of an ini file, as Circus does,
        and the configuration of a native one (DESIGN.md, 10)."""
        return to_configure(config, "file" if self.native else "library")

    def reload(self) -> commands.ArbiterConfigure:
        """For `reloadconfig`: a bad file is refused and changes nothing."""
        try:
            return self.configure(self.read())
        except ConfigProblems as error:
            reason = "; ".join(str(problem) for problem in error.problems)
            raise Refusal(f"cannot reload the configuration: {reason}") from error
        except VaultError as error:
            raise Refusal(str(error), OS_ERROR) from error


class Hangup:
    """SIGHUP reads a native configuration again; that of an ini file is the arbiter's to answer.

    A bad file is logged and changes nothing. It is read after the turn that recorded the signal:
    an observer sees records while they are on their way.
    """

    def __init__(self, source: Source, engine: Engine, log: OperatorLog) -> None:
        self._source = source
        self._engine = engine
        self._log = log

    def observe(self, record: Record) -> None:
        """Fold one record."""
        body = record.body
        hangup = isinstance(body, SignalReceived) and body.signum == signal.SIGHUP
        if hangup and self._source.native:
            self._engine.calls.call(self._reload)

    def _reload(self) -> None:
        try:
            configure = self._source.reload()
        except Refusal as refusal:
            self._log.note("error", "configuration not reloaded", reason=refusal.reason)
            return
        self._engine.parts.runtime.command(ARBITER, configure)


def wait(link_fd: int) -> int:
    """Of the first core, started before anybody knew for what (circus.start): the link's first
    message is what `main` needs. Its end instead means that no core is wanted."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    order = os.read(link_fd, ORDER_BYTES_MAX)
    return main([str(link_fd), *os.fsdecode(order).split("\0")]) if order else os.EX_OK


def main(argv: Sequence[str]) -> int:
    """LINK_FD STATE_DIR CONFIG INSECURE_TCP(0|1) LOG_LEVEL(""): what the keeper starts."""
    gc.disable()  # until everything that stays is there: it would look at it twenty times
    link_fd, state_dir, path, insecure_tcp, log_level = argv
    with open("/proc/self/comm", "w", encoding="ascii") as comm:
        comm.write(COMM)
    faulthandler.enable()  # SIGABRT, the keeper's word for a core that hangs, makes it say where
    _take_signals()
    link = Link.core_end(int(link_fd))
    places = places_in(state_dir)
    try:
        vault = Vault.open(places.vault)
        cache = f"{places.state}/configuration"
        source = Source(path, vault, cache=cache, insecure_tcp=insecure_tcp == "1")
        config = source.read_first(places.state)
        settings = config.settings
        log = OperatorLog(log_level or settings.loglevel, settings.logoutput)
        with _pidfile(settings.pidfile) as pidfile:
            engine = _opened(_wiring(config, source, places, link), source, log)
            code = _run(engine, log)
            if engine.parts.runtime.restarting is not None and pidfile is not None:
                pidfile.leave()
            return code
    except ConfigProblems as error:
        _complain(*map(str, error.problems), "circusd: nothing was started")
        return os.EX_NOINPUT if error.unreadable else os.EX_CONFIG
    except (VaultError, StorageFailed, PidfileError) as error:
        _complain(f"circusd: {error}")
        return os.EX_CANTCREAT
    except Unfoldable as error:
        _complain(f"circusd: {error}")
        return os.EX_SOFTWARE
    except LinkClosed:
        return os.EX_SOFTWARE  # The keeper is gone.
    except zmq.ZMQError as error:
        _complain(f"circusd: cannot listen: {error}; is another daemon there?")
        return os.EX_UNAVAILABLE


def _comes_back(state_dir: str) -> bool:
    """Whether an earlier core of this very daemon was up: its keeper is older than the record.

    Asked only when the configuration is bad, so that it may cost a look through the ledger.
    """
    from circus.bus.reader import LedgerReader

    directory = f"{state_dir}/ledger"
    if not os.path.isdir(directory):
        return False
    boot, last = "", None
    for frame in LedgerReader(directory).frames():
        last = frame.payload
        if b"core.started" in frame.payload:
            bodies = [record.body for record in records_of(frame.payload)]
            boot = next((b.boot_id for b in bodies if isinstance(b, events.CoreStarted)), boot)
    if last is None or boot != boot_id():
        return False
    return not is_later(os.getppid(), records_of(last)[-1])


def _complain(*lines: str) -> None:
    sys.stderr.write("".join(f"{line}\n" for line in lines))


class PidfileError(Exception):
    """The pid file of `[circus]` cannot be written; the text says why."""


@contextmanager
def _pidfile(path: str | None) -> Generator[Pidfile | None]:
    """The keeper's pid in the file that the configuration names, while this daemon runs."""
    if path is None:
        yield None
        return
    pidfile = Pidfile(path)
    try:
        pidfile.create(os.getppid())
    except (RuntimeError, OSError) as error:
        raise PidfileError(f"cannot write the pid file: {error}") from error
    try:
        yield pidfile
    finally:
        pidfile.unlink()


def _wiring(config: Config, source: Source, places: Places, link: Link) -> Wiring:
    settings = config.settings
    ctl = [places.ctl_endpoint, *filter(None, [settings.endpoint])]
    stream = [places.events_endpoint, *filter(None, [settings.pubsub_endpoint])]
    return Wiring(
        state_dir=places.state, ctl=ctl, events=stream, link=link, keeper_pid=os.getppid(),
        vault=source.vault, environ=os.environ, configure=source.configure(config),
        options=WireOptions(source.vault, source.reload), transport=settings.transport,
        durability=settings.durability,
        umask=settings.umask, no_new_privs=settings.no_new_privs, watchdog=settings.watchdog,
        orphans=settings.orphans, cgroup=settings.cgroup,
        on_log_failure=settings.on_log_failure,
        settings={
            "endpoint": ctl[-1], "pubsub_endpoint": stream[-1], "stats_endpoint": None,
            "multicast_endpoint": None, "check_delay": 0.0,
        },
    )  # fmt: skip


def _opened(wiring: Wiring, source: Source, log: OperatorLog) -> Engine:
    # From the first record on: what was found out about the ledger is among them.
    engine = open_engine(altered(wiring, observers=(log,)))
    for complaint in engine.parts.complaints:
        log.note("warning", complaint)
    switchboard = engine.parts.runtime.switchboard
    # From here on only the kinds that it shows: nobody pays for the others.
    switchboard.observers.remove(log)
    switchboard.watch(log.observe, log.watches)
    switchboard.watch(Hangup(source, engine, log).observe, (events.SignalReceived,))
    engine.idle.add(log.start)
    # What is alive now stays alive: the collector need not look at it again.
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    gc.enable()
    return engine


def _run(engine: Engine, log: OperatorLog) -> int:
    try:
        return engine.run()
    finally:
        log.close()


def _take_signals() -> None:
    """The terminal's Ctrl-C reaches the keeper, who tells us; the rest is the keeper's too."""
    for signum in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGWINCH):
        signal.signal(signum, signal.SIG_IGN)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
