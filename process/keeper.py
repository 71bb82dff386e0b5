"""Room: process -- the keeper's front: the lock, the signals, the core; then the loop.

Knows:     process.core_child, process.spawn; process.keeper_loop only once the core is on its way.
Known by:  circusd, the library (embedded), `python -m circus.process.keeper`.
Never:     imports zmq, attrs or anything of a third party but msgpack, and that after the core.

Everything here happens between exec and the core's start, so it is short: the first worker waits.
"""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import sys
from collections.abc import Sequence
from typing import Final

from circus.process.core_child import CoreChild, KeeperOptions, Start
from circus.process.spawn import Spawner

EX_USAGE: Final = 64
EX_CANTCREAT: Final = 73
FORWARDED: Final = (
    signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2,
    signal.SIGWINCH,
)  # fmt: skip
SOURCE: Final = (
    "import sys; sys.path[:0]={paths!r}; from {module} import main; sys.exit(main({args!r}))"
)


def run_keeper(options: KeeperOptions) -> int:
    """Keep everything until the end; the exit code. Called once, in a process of its own."""
    if options.resume:
        return _go_on(options)
    wake_fd = _take_signals()
    lock_fd = _lock(options.state_dir)
    if lock_fd is None:
        return EX_CANTCREAT
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    spawner = Spawner(nofile=None if soft == hard else (soft, hard))
    core: CoreChild | None = None
    if options.start_core is not None:
        core = CoreChild(
            options.start_core, spawner, pauses=options.pauses, silence=options.silence
        )
        if options.first_core is None:
            core.start()
        else:
            core.take(*options.first_core())
    from circus.process.keeper_loop import keep

    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        return keep(options, Start(core, wake_fd, spawner, lock_fd))
    finally:
        os.close(lock_fd)


def _go_on(options: KeeperOptions) -> int:
    """As the keeper that was in this process until now, or try whether we could."""
    from circus.process.keeper_loop import keep
    from circus.process.successor import TRIAL, read_state

    carried = read_state(int(options.resume.rstrip(TRIAL)))
    nofile = None if carried["nofile"] is None else (carried["nofile"][0], carried["nofile"][1])
    spawner = Spawner(nofile=nofile)
    core: CoreChild | None = None
    if options.start_core is not None:
        core = CoreChild(
            options.start_core, spawner, pauses=options.pauses, silence=options.silence
        )
    if options.resume.endswith(TRIAL):
        return 0
    wake_fd = _take_signals()  # what was blocked over the exec is delivered here
    lock_fd = int(carried["lock"])
    if core is not None:
        core.restore(carried["core"])
    try:
        return keep(options, Start(core, wake_fd, spawner, lock_fd, carried))
    finally:
        os.close(lock_fd)


def python_argv(module: str, *args: str) -> list[str]:
    """Run `module.main([args…])` in an isolated Python that finds the packages that we find.

    `-I` ignores PYTHONPATH and the working directory, as a daemon must, and `-S` does not look for
    packages again; what led us here is given by name instead.
    """
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    paths = [path for path in sys.path if path and not path.endswith(".zip")]
    source = SOURCE.format(paths=[package, *paths], module=module, args=list(args))
    return [sys.executable, "-I", "-S", "-c", source]


def embedded_argv(state_dir: str, link_fd: int, host_pid: int) -> list[str]:
    """The keeper as a child of a program: `link_fd` must be inheritable while it is started."""
    return python_argv("circus.process.keeper", state_dir, str(link_fd), str(host_pid))


def successor_argv(module: str, program: str, *args: str) -> list[str]:
    """The same module again: by our own Python, or by the one that is named, with its packages."""
    if not program:
        return python_argv(module, *args)
    return [program, "-I", "-m", module, *args]


def main(argv: Sequence[str]) -> int:
    """STATE_DIR LINK_FD HOST_PID [RESUME]: the embedded keeper."""
    if len(argv) not in (3, 4) or not (argv[1].isdigit() and argv[2].isdigit()):
        sys.stderr.write("cannot start: give the state directory, a descriptor and a pid\n")
        return EX_USAGE
    state_dir, link_fd, host_pid, *resume = argv

    def again(state: str, program: str) -> Sequence[str]:
        module = "circus.process.keeper"
        return successor_argv(module, program, state_dir, link_fd, host_pid, state)

    return run_keeper(
        KeeperOptions(
            state_dir, link_fd=int(link_fd), host_pid=int(host_pid), again=again,
            resume=resume[0] if resume else "",
        )
    )  # fmt: skip


def _take_signals() -> int:
    """Handlers that do nothing: the number of each signal arrives at the descriptor returned.

    What we inherited ignored or blocked is undone first: an ignored SIGCHLD would make the kernel
    reap behind our back, and a blocked SIGTERM would leak into every worker.
    """
    read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    for signum in signal.valid_signals():
        if signum in FORWARDED or signum == signal.SIGCHLD:
            signal.signal(signum, _woken)
        elif signal.getsignal(signum) == signal.SIG_IGN and signum not in (
            signal.SIGPIPE, signal.SIGXFSZ,
        ):  # fmt: skip
            signal.signal(signum, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    return read


def _woken(signum: int, frame: object) -> None:
    """The wake-up descriptor has it."""


def _lock(state_dir: str) -> int | None:
    """Hold DIR/lock for life; None, with one sentence, where another keeper does."""
    os.makedirs(state_dir, 0o700, exist_ok=True)
    path = os.path.join(state_dir, "lock")
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        sys.stderr.write(f"cannot start: {path}: {error.strerror}\n")
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        sys.stderr.write(
            f"cannot start: another circusd runs on {state_dir}; "
            "stop it first or give another --state-dir\n"
        )
        return None
    return fd


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
