"""Room: arbiter -- the keeper as a child of the user's program.

Knows:     process.keeper (how it is started), process.link.
Known by:  arbiter.library_core.
Never:     waits for any pid but the keeper's; leaves a descriptor that another child could inherit.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import subprocess
from typing import Final

from circus.process.keeper import embedded_argv
from circus.process.link import Link, pair

KEEPER_WAIT_MS: Final = 60_000


class Keeper:
    """The keeper as a child, in a session of its own, and our end of the link to it."""

    def __init__(self, state_dir: str) -> None:
        ours, theirs = pair()
        try:
            argv = embedded_argv(state_dir, theirs, os.getpid())
            self._child = subprocess.Popen(argv, pass_fds=(theirs,), start_new_session=True)
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        self.pid = self._child.pid
        self.link = Link.core_end(ours)

    def how_it_ended(self) -> str:
        """For a sentence, once the link is found closed: `(pid 7) was ended by SIGKILL`."""
        self._wait()
        code = self._child.returncode
        if code is None:
            how = "has closed its link"
        elif code < 0:
            how = f"was ended by {signal.Signals(-code).name}"
        else:
            how = f"ended with code {code}"
        return f"(pid {self.pid}) {how}"

    def end(self) -> None:
        """Our end of the link is closed: it stops what is left, and ends; wait for that."""
        self.link.close()
        if not self._wait():
            logging.getLogger("circus").error("keeper %d still stops its workers", self.pid)

    def _wait(self) -> bool:
        if self._child.returncode is not None:
            return True
        try:
            pidfd = os.pidfd_open(self.pid)
        except ProcessLookupError:  # the program ignores SIGCHLD: the kernel has reaped it
            self._child.wait()
            return True
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        ended = poller.poll(KEEPER_WAIT_MS)
        os.close(pidfd)
        if ended:
            self._child.wait()
        return bool(ended)
