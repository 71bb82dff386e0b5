"""Room: process -- whom a child is to become: names and numbers looked up in the system's lists.

Knows:     process.spawn (its error), pwd and grp.
Known by:  process.spawn, only where a launch asks for another user or group.
Never:     falls back to who we are: that may be root.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
from typing import NamedTuple

from circus.process.fast_road import SpawnFailed


class Identity(NamedTuple):
    """Whom the child becomes."""

    uid: int
    gid: int
    groups: list[int]


def find(user: int | str | None, group: int | str | None) -> Identity | None:
    """Whom these mean, or None where that is ourselves. Raises SpawnFailed."""
    uid, name, gid = os.geteuid(), "", os.getegid()
    if user is not None:
        uid, name, gid = _user(user)
    if group is not None:
        gid = _group(group)
    if (uid, gid) == (os.geteuid(), os.getegid()) and uid != 0:
        return None
    groups = os.getgrouplist(name, gid) if name else [gid]
    return Identity(uid, gid, groups)


def _user(user: int | str) -> tuple[int, str, int]:
    try:
        if isinstance(user, int) or user.isdigit():
            entry = pwd.getpwuid(int(user))
        else:
            entry = pwd.getpwnam(user)
    except (KeyError, OverflowError) as error:
        raise SpawnFailed("user", errno.ENOENT) from error
    return entry.pw_uid, entry.pw_name, entry.pw_gid


def _group(group: int | str) -> int:
    if isinstance(group, int) or group.isdigit():
        return int(group)
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError as error:
        raise SpawnFailed("groups", errno.ENOENT) from error
