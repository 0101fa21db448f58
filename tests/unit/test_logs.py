"""What a failing request leaves in the log: where it broke, and nothing that opens a card or an account."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.group import environment
from wallet_server import migrations
from wallet_server.db import create_engine

TOKEN = "AaIAVKtcfMScWNu53rUAjJKMKdhrwMwE7Hdgwabp0Sg"
PHONE = "+38970555777"
FAILING_REQUEST = f"""
import sqlalchemy as sa
from wsgi import application

def broken(token):
    with application.extensions["wallet"].engine.connect() as connection:
        connection.execute(sa.text("SELECT nothing FROM nowhere WHERE phone = :phone"), {{"phone": "{PHONE}"}})

broken.permission = "address"
application.view_functions["member.home"] = broken
assert application.test_client().get("/m/{TOKEN}").status_code == 500
"""


def test_a_traceback_holds_no_secret(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    engine = create_engine(f"sqlite:///{data / 'wallet.sqlite'}")
    migrations.upgrade(engine)
    engine.dispose()
    ran = subprocess.run(
        [sys.executable, "-c", FAILING_REQUEST],
        env=environment(data, WALLET_SANDBOX="1"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "request failed" in ran.stderr
    assert "/m/<token>" in ran.stderr
    assert "SELECT nothing FROM nowhere" in ran.stderr
    for secret in (TOKEN, PHONE, (data / "secret-key").read_text().strip()):
        assert secret not in ran.stderr
