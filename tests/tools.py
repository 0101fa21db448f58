"""Programs of the machine that tests use as judges of our work: found, or installed where that is possible.

``python -m tests.tools`` makes them ready (`make test` runs it); a test asks with :func:`require_tool`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

# command -> Debian's package, and what the tests need it for
TOOLS = {
    "nghttpd": ("nghttp2-server", "an HTTP/2 server that we did not write, to push to"),
    "openssl": ("openssl", "a verifier of signatures that we did not write"),
}
SYSTEM_FOLDERS = (
    "/usr/local/sbin",
    "/usr/sbin",
    "/sbin",
    "/opt/homebrew/bin",
    "/opt/homebrew/opt/nghttp2/bin",
)
APT_TIMEOUT_S = 600


class MissingToolError(Exception):
    """A program is neither here nor installable; the message says how to get it."""


def find_tool(name: str) -> str | None:
    """Return the path of a program, also where a plain user's PATH does not look."""
    folders = [folder for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    return shutil.which(name, path=os.pathsep.join([*folders, *SYSTEM_FOLDERS]))


def require_tool(name: str) -> str:
    """Return the path of a program that a test cannot do without; raises :class:`MissingToolError`."""
    path = find_tool(name)
    if path is None:
        package, reason = TOOLS.get(name, (name, "used by a test"))
        raise MissingToolError(
            f"{name} ({reason}) is not installed. Debian and Ubuntu: apt-get install {package}. "
            "macOS: brew install nghttp2 openssl. Then run `make test` again."
        )
    return path


def install_with_apt(package: str) -> bool:
    """Install a Debian package if this machine and user can; return whether it was tried with success."""
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0 or not Path("/etc/debian_version").exists():
        return False
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = [apt, "install", "-y", "--no-install-recommends", package]
    # The lists of a fresh machine are empty or old: look there first, ask for new ones when that fails.
    for command in (install, [apt, "update"], install):
        done = subprocess.run(command, env=environment, timeout=APT_TIMEOUT_S, check=False)
        if command is install and done.returncode == 0:
            return True
    return False


def main() -> int:
    for name, (package, _) in TOOLS.items():
        if find_tool(name) is None:
            install_with_apt(package)
        try:
            print(f"{name}: {require_tool(name)}")
        except MissingToolError as error:
            print(error, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
