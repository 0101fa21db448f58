"""Install lock files into the virtual environment that runs this: ``python .ci/install.py [--target FOLDER] LOCK…``.

With a folder, they go there and leave the environment as it is.

uv installs in seconds what takes pip a minute, but it does not read pip's configuration. A machine whose
registry is named there (a mirror, a certificate, a folder of wheels) is meant to work, so pip is asked for
its configuration and uv is told. Should uv fail all the same, pip installs the same hashes, slowly.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

# pip's option -> uv's environment variable and what joins several values
TRANSLATIONS = {
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "trusted-host": ("UV_INSECURE_HOST", " "),
    "cert": ("SSL_CERT_FILE", ""),
    "no-index": ("UV_NO_INDEX", ""),
    "default-timeout": ("UV_HTTP_TIMEOUT", ""),
    "timeout": ("UV_HTTP_TIMEOUT", ""),
}
# Later wins, as in pip.
SECTIONS = ("global", "install", ":env:")


def read_pip_options() -> dict[str, str]:
    """Return what pip's files and environment say, by option name."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    listing = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found: dict[str, dict[str, str]] = {section: {} for section in SECTIONS}
    for line in listing.splitlines():
        key, separator, value = line.partition("=")
        section, _, option = key.partition(".")
        if separator and section in found:
            found[section][option] = value.strip().strip("'\"").replace("\\n", " ")
    merged: dict[str, str] = {}
    for section in SECTIONS:
        merged |= found[section]
    return merged


def translate(options: dict[str, str], environment: dict[str, str]) -> dict[str, str]:
    """Return ``environment`` with uv's variables for pip's ``options``; a variable that is set stays."""
    result = dict(environment)
    for option, (variable, joiner) in TRANSLATIONS.items():
        if options.get(option) and variable not in environment:
            result[variable] = joiner.join(options[option].split()) if joiner else options[option]
    # pip takes the best match of all indexes. The hashes say which file is meant, whoever serves it.
    result.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
    result.setdefault("UV_NO_PROGRESS", "1")
    return result


def main(arguments: list[str]) -> int:
    target, locks = (arguments[:2], arguments[2:]) if arguments[:1] == ["--target"] else ([], arguments)
    requirements = [*target, *(argument for lock in locks for argument in ("-r", lock))]
    uv = Path(sys.executable).with_name("uv")
    quick = [str(uv), "pip", "install", "--python", sys.executable, "--require-hashes", *requirements]
    environment = translate(read_pip_options(), dict(os.environ))
    if subprocess.run(quick, env=environment, check=False).returncode == 0:
        return 0
    print("uv could not install; pip tries.", flush=True)
    slow = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--require-hashes"]
    return subprocess.run([*slow, *requirements], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
