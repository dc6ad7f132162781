"""A disk so small that it can be filled: a file system in memory, in a mount namespace that ends with the run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

_OURS = "OUTRIDER_FAULTS_MOUNTS"
_MEGABYTES = 640
_PIECE = bytes(1024 * 1024)


def why_not() -> str:
    """Why no disk can be filled here; nothing when one can."""
    return "" if os.environ.get(_OURS) else "cannot run here: only root mounts a small file system, with `unshare`"


def enter() -> None:
    """Become a process that may mount what nobody else sees, if this machine lets us: the program starts again as one."""
    if os.environ.get(_OURS) or os.geteuid() != 0 or not shutil.which("unshare"):
        return
    apart = ["unshare", "--mount", "--propagation", "private"]
    probe = [*apart, "mount", "-t", "tmpfs", "none", "/mnt"]
    if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
        os.execvpe(apart[0], [*apart, sys.executable, "-m", "tests.faults", *sys.argv[1:]], os.environ | {_OURS: "1"})


class SmallDisk:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def mount(self) -> None:
        self.folder.mkdir()
        options = f"size={_MEGABYTES}M,mode=711"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", self.folder], check=True, capture_output=True)

    def fill(self) -> None:
        """Leave no byte."""
        with self._ballast.open("ab", buffering=0) as ballast:
            for piece in (_PIECE, _PIECE[:4096], _PIECE[:1]):
                try:
                    while True:
                        ballast.write(piece)
                except OSError:
                    continue

    def free(self) -> None:
        self._ballast.unlink(missing_ok=True)

    @property
    def free_bytes(self) -> int:
        return shutil.disk_usage(self.folder).free

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", self.folder], check=False, capture_output=True)
