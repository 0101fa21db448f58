"""What the repository promises to whoever clones it: pinned, address-free, documented, complete."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import stat
import subprocess
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType

import pytest

from tests import chromium
from tests.tools import MissingToolError, find_tool, require_tool
from wallet_server.assets import COPIES

ROOT = Path(__file__).resolve().parents[2]
LOCKS = sorted(ROOT.glob("requirements*.lock"))
# Put together at run time, so that this file does not name them.
REGISTRY_HOSTS = [
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("registry", "npmjs"),
        ("registry", "yarnpkg"),
        ("npmmirror", "com"),
        ("deb", "debian", "org"),
        ("archive", "ubuntu", "com"),
    )
]
MACHINE_PATHS = re.compile("|".join(("/wo" + "rk/", "/ro" + r"ot/\w", "/ho" + r"me/\w", "/Us" + r"ers/\w")))
TOP_LEVEL = {
    ".ci", ".editorconfig", ".gitignore", ".npmrc", "CHANGELOG.md", "LICENSE", "Makefile", "README.md", "docs",
    "package-lock.json", "package.json", "passes", "pyproject.toml", "requirements-demo.lock",
    "requirements-dev.lock", "requirements-node.lock", "requirements-peers.lock", "requirements-setup.lock",
    "requirements.lock",
    "templates", "tests", "wallet_server", "workers", "wsgi.py",
}  # fmt: skip


def committed_files() -> list[Path]:
    """Every file that git keeps or would keep (a new one counts before it is added)."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    # A file that is deleted in the work tree is still in the index.
    return [ROOT / name for name in listing.split("\0") if name and (ROOT / name).is_file()]


def text_files() -> Iterable[tuple[str, str]]:
    for path in committed_files():
        content = path.read_bytes()
        if b"\0" not in content:
            yield str(path.relative_to(ROOT)), content.decode("utf-8")


def pins(lock: Path) -> dict[str, list[str]]:
    """Return requirement line (name==version and marker) -> its hashes."""
    found: dict[str, list[str]] = {}
    current = ""
    for line in lock.read_text(encoding="utf-8").splitlines():
        if line and not line[0].isspace() and not line.startswith("#"):
            current = line.removesuffix("\\").strip()
            found[current] = []
        elif line.strip().startswith("--hash="):
            found[current].append(line.strip().removesuffix("\\").strip())
    return found


def load_installer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("installer", ROOT / ".ci" / "install.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_file_names_a_registry():
    found = [(name, host) for name, text in text_files() for host in REGISTRY_HOSTS if host in text]
    assert found == []


def test_no_file_names_a_path_of_one_machine():
    found = [
        f"{name}:{number}: {line.strip()[:80]}"
        for name, text in text_files()
        for number, line in enumerate(text.splitlines(), 1)
        if MACHINE_PATHS.search(line)
    ]
    assert found == []


def test_the_top_level_holds_only_what_is_agreed():
    assert {path.relative_to(ROOT).parts[0] for path in committed_files()} - TOP_LEVEL == set()


def test_nothing_built_by_others_is_committed():
    """Third-party files come from packages: no minified script, font, wheel or library lies in the tree."""
    built = re.compile(r"(\.min\.(js|css)|\.(woff2?|ttf|otf|eot|whl|so|dll|mo))$")
    assert [path.name for path in committed_files() if built.search(path.name)] == []
    names = {Path(asset.source).name for asset in COPIES}
    assert [path.name for path in committed_files() if path.name in names] == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_pin_has_hashes_and_no_address(lock: Path):
    assert pins(lock)
    for requirement, hashes in pins(lock).items():
        assert re.match(r"^[a-z0-9._-]+(\[[a-z0-9,_-]+\])?==[^ ]+( ; .+)?$", requirement), requirement
        assert hashes, f"{requirement} has no hash"
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", value) for value in hashes), requirement
    assert "://" not in lock.read_text(encoding="utf-8")


def test_the_locks_agree():
    """`make test` after `make run` may not change a version: what two sets share, they share in one version."""

    def versions(name: str) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for pin in pins(ROOT / name):
            found.setdefault(re.split(r"[=\[]", pin)[0], set()).add(pin)
        return found

    largest = versions("requirements-dev.lock")
    for name in ("requirements.lock", "requirements-demo.lock"):
        smaller = versions(name)
        assert smaller == {package: largest.get(package) for package in smaller}, name
    shared = versions("requirements-setup.lock")
    assert {package: largest[package] for package in shared if package in largest} == {
        package: found for package, found in shared.items() if package in largest
    }


def test_every_dependency_of_the_project_is_locked():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = {
        "requirements.lock": project["project"]["dependencies"],
        "requirements-dev.lock": project["project"]["optional-dependencies"]["dev"],
        "requirements-demo.lock": project["project"]["optional-dependencies"]["demo-data"],
        "requirements-setup.lock": project["dependency-groups"]["setup"],
        "requirements-node.lock": project["dependency-groups"]["node"],
        "requirements-peers.lock": project["dependency-groups"]["peers"],
    }
    assert set(groups) == {lock.name for lock in LOCKS}
    for lock, requirements in groups.items():
        locked = {re.split(r"[=\[]", pin)[0] for pin in pins(ROOT / lock)}
        wanted = {re.split(r"[<>=!\[; ]", requirement)[0].lower() for requirement in requirements}
        assert wanted <= locked, lock
    assert project["build-system"]["requires"] == [
        pin for pin in project["dependency-groups"]["setup"] if pin.startswith("hatchling")
    ]


def test_front_end_packages_are_exact_and_have_integrity():
    package = json.loads((ROOT / "package.json").read_text(encoding="utf-8"))
    for version in (package["dependencies"] | package["devDependencies"]).values():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    for name, entry in json.loads((ROOT / "package-lock.json").read_text(encoding="utf-8"))["packages"].items():
        if name:
            assert "resolved" not in entry, f"{name} names where it came from"
            assert entry["integrity"].startswith("sha512-"), name


def test_every_make_target_is_explained():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    phony = {name for line in re.findall(r"^\.PHONY: (.+)$", makefile, re.MULTILINE) for name in line.split()}
    assert {"run", "setup", "test", "lint", "format", "lock", "demo-data", "messages"} <= phony
    for target in phony - {"checks"}:  # a part of `test` and `lint`
        assert re.search(rf"^{target}:.* ## \S", makefile, re.MULTILINE), f"make {target} has no ## comment"
        assert re.search(rf"^  make {target} +\S", listed, re.MULTILINE), f"make help does not list {target}"


def test_the_ci_script_is_executable_and_ends_with_the_tests():
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & stat.S_IXUSR
    lines = [line for line in script.read_text(encoding="utf-8").splitlines() if line.strip()]
    assert lines[0] == "#!/usr/bin/env bash"
    assert re.search(r"\bmake\b.* test\b", lines[-1])


def test_a_step_is_quiet_when_it_works_and_tells_all_when_it_fails():
    step = str(ROOT / ".ci" / "step")
    fine = subprocess.run([step, "Do it", "echo", "noise"], capture_output=True, text=True, check=False)
    assert fine.returncode == 0
    assert re.fullmatch(r"  Do it +\d+ s\n", fine.stdout)

    broken = subprocess.run(
        [step, "Do it", "sh", "-c", "echo out; echo err >&2; exit 7"], capture_output=True, text=True, check=False
    )
    assert broken.returncode == 7
    assert "failed" in broken.stdout
    assert "out\nerr\n" in broken.stdout


def test_no_model_file_postpones_annotations():
    """SQLModel reads the annotations of tables and relationships when the class is made."""
    for path in (ROOT / "wallet_server").rglob("models.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            postponed = isinstance(node, ast.ImportFrom) and node.module == "__future__"
            assert not postponed, path.relative_to(ROOT)


def test_pip_settings_reach_the_quick_installer():
    translate = load_installer().translate
    options: Mapping[str, str] = {
        "index-url": "https://mirror.example/simple",
        "extra-index-url": "https://a.example/simple https://b.example/simple",
        "find-links": "/wheels /more",
        "cert": "/etc/ca.pem",
    }
    environment = translate(options, {"PATH": "/bin"})
    assert environment["UV_DEFAULT_INDEX"] == "https://mirror.example/simple"
    assert environment["UV_INDEX"] == "https://a.example/simple https://b.example/simple"
    assert environment["UV_FIND_LINKS"] == "/wheels,/more"
    assert environment["SSL_CERT_FILE"] == "/etc/ca.pem"
    assert environment["PATH"] == "/bin"
    # What is said to uv itself counts for more.
    assert translate(options, {"UV_DEFAULT_INDEX": "mine"})["UV_DEFAULT_INDEX"] == "mine"
    assert "UV_DEFAULT_INDEX" not in translate({}, {})


def test_pip_settings_are_read_from_its_file_and_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "pip.conf").write_text(
        "[global]\nindex-url = https://file.example/simple\ntimeout = 7\n[install]\nfind-links = /a\n  /b\n"
    )
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("PIP_TIMEOUT", "9")

    options = load_installer().read_pip_options()

    assert options["index-url"] == "https://file.example/simple"
    assert options["timeout"] == "9"
    assert options["find-links"].split() == ["/a", "/b"]


def test_macedonian_counts_like_macedonian():
    """21 is singular and 11 is not; Babel's own rule for new catalogues is English's."""
    path = ROOT / "wallet_server" / "locale" / "mk" / "LC_MESSAGES" / "messages.po"
    header = path.read_text(encoding="utf-8").split("\n\n", 1)[0]
    assert "nplurals=2; plural=(n%10==1 && n%100!=11 ? 0 : 1)" in header


def test_a_missing_tool_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    assert Path(require_tool("openssl")).is_file()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("tests.tools.SYSTEM_FOLDERS", (str(tmp_path),))
    assert find_tool("nghttpd") is None
    with pytest.raises(MissingToolError, match="apt-get install nghttp2-server"):
        require_tool("nghttpd")


def test_chromium_is_what_the_environment_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    executable = tmp_path / "chromium"
    executable.write_text("#!/bin/sh\n")
    executable.chmod(0o755)
    monkeypatch.setenv("CHROMIUM", str(executable))
    assert chromium.find_chromium() == executable

    monkeypatch.setenv("CHROMIUM", str(tmp_path / "gone"))
    with pytest.raises(MissingToolError, match="is not an executable file"):
        chromium.make_ready()


def test_a_chromium_package_that_is_not_the_pinned_one_is_refused(tmp_path: Path):
    package = tmp_path / "package.tgz"
    package.write_bytes(b"something else")
    with pytest.raises(MissingToolError, match="is not the pinned one"):
        chromium.unpack(package, tmp_path / "chromium", chromium.PACKAGE_SHA512)
    assert [path.name for path in tmp_path.iterdir()] == ["package.tgz"]
