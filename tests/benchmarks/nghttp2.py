"""nghttpd and h2load, programs of nghttp2 that benchmarks measure us against: this machine's, or Debian's."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.tools import MissingToolError, find_tool

PACKAGES = ("nghttp2-server", "nghttp2-client", "libnghttp2-14", "libev4", "libc-ares2", "libjemalloc2", "libxml2")


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "wallet-server" / "bench"


def tool_environment() -> dict[str, str]:
    """The environment in which an unpacked program finds its libraries."""
    libraries = [str(path) for path in (_cache() / "usr" / "lib").glob("*-linux-gnu*")]
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(libraries)} if libraries else dict(os.environ)


def tool(name: str) -> str:
    """A program of this machine, or Debian's, unpacked into a folder of the cache; root is not needed."""
    if found := find_tool(name):
        return found
    cache = _cache()
    for folder in ("bin", "sbin"):
        if (cache / "usr" / folder / name).is_file():
            return str(cache / "usr" / folder / name)
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise MissingToolError(f"{name} is not installed, and this is no Debian to fetch it from")
    cache.mkdir(parents=True, exist_ok=True)
    for package in PACKAGES:
        subprocess.run(["apt-get", "download", package], cwd=cache, check=False, timeout=300, capture_output=True)
    for archive in cache.glob("*.deb"):
        subprocess.run(["dpkg", "-x", str(archive), str(cache)], check=True, timeout=60)
        archive.unlink()
    if not any((cache / "usr" / folder / name).is_file() for folder in ("bin", "sbin")):
        raise MissingToolError(f"{name} could not be fetched: install nghttp2-server and nghttp2-client")
    return tool(name)
