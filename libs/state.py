"""Where this checkout keeps what it keeps on this machine: databases, secrets, logs."""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]


class FolderInUse(RuntimeError):
    """Another live process works in the folder; the message names folder and process."""


def state_root() -> Path:
    """The folder, made if missing: $OUTRIDER_HOME; as root /var/lib/outrider/<hash of checkout>; else <checkout>/var.

    Root's is never below the checkout: PostgreSQL runs as `nobody` then, who cannot enter a checkout below a 0700 home.
    """
    if given := os.environ.get("OUTRIDER_HOME"):
        return _made(Path(given).expanduser().resolve())
    if os.geteuid() == 0:
        name = hashlib.sha256(os.fsencode(CHECKOUT)).hexdigest()[:12]
        return _made(_made(Path("/var/lib/outrider")) / name)
    return _made(CHECKOUT / "var")


def _made(folder: Path) -> Path:
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        # 0711: `nobody` may pass through to its data, and list nothing.
        folder.chmod(0o711 if os.geteuid() == 0 else 0o700)
    return folder


def take_folder(folder: Path, *, timeout_seconds: float = 20.0) -> int:
    """Lock `folder` and return the lock's file descriptor; closing it lets go.

    Give the descriptor to the servers started in the folder (`pass_fds`): the lock then lasts until the last of them is
    gone, also when their starter was killed. Such a dying rest is waited for; a living starter is not.

    Raises:
        FolderInUse: another process holds the folder.
    """
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = int(os.pread(descriptor, 20, 0) or 0)
            if _other_lives(holder) or time.monotonic() > deadline:
                os.close(descriptor)
                raise FolderInUse(f"{folder} is in use by process {holder}") from None
            time.sleep(0.02)
            continue
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        return descriptor


def _other_lives(pid: int) -> bool:
    if pid in (0, os.getpid()):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
