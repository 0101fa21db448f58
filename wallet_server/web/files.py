"""Style sheets, scripts, fonts and icons: each under a name with a hash of its content, kept for ever by browsers."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from flask import Blueprint, Flask, Response, abort, current_app, send_file, url_for

from wallet_server.assets import VENDOR_DIR, load_manifest
from wallet_server.web.security import permission

OWN_DIR: Final = Path(__file__).resolve().parent.parent / "static"
KEEP_S: Final = 365 * 24 * 3600
HASH_LENGTH: Final = 12

blueprint = Blueprint("files", __name__)


class Assets:
    """Logical name (``app.css``) → address, and address → file; read once when the process starts."""

    def __init__(self, own: Path = OWN_DIR, vendor: Path = VENDOR_DIR) -> None:
        self.names: dict[str, str] = {}
        self.paths: dict[str, Path] = {}
        # Fonts are named in a style sheet beside them, so third-party files keep a folder of their own.
        for name, file_name in load_manifest(vendor / "manifest.json").items():
            self._add(name, f"vendor/{file_name}", vendor / file_name)
        for path in sorted(own.iterdir()):
            if path.is_file() and not path.name.startswith("."):
                digest = hashlib.sha256(path.read_bytes()).hexdigest()[:HASH_LENGTH]
                self._add(path.name, f"{path.stem}.{digest}{path.suffix}", path)

    def _add(self, name: str, address: str, path: Path) -> None:
        assert name not in self.names, f"two files are called {name}"
        self.names[name] = address
        self.paths[address] = path


def init_app(app: Flask) -> None:
    """Read the manifest and serve the files.

    Raises ``AssetError``, naming ``make setup``, when third-party files are missing.
    """
    app.extensions["assets"] = Assets()
    app.register_blueprint(blueprint)


def asset_url(name: str) -> str:
    """The address of a file by its logical name; an unknown name is a mistake in a template."""
    assets: Assets = current_app.extensions["assets"]
    return url_for("files.static_file", name=assets.names[name])


@blueprint.get("/static/<path:name>")
@permission("public")
def static_file(name: str) -> Response:
    assets: Assets = current_app.extensions["assets"]
    path = assets.paths.get(name)
    if path is None:
        abort(404)
    response = send_file(path, conditional=True, max_age=KEEP_S)
    response.headers["Cache-Control"] = f"public, max-age={KEEP_S}, immutable"
    return response
