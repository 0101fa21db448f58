"""What a failing request leaves in the log: where it broke, and nothing that opens a card or an account."""

from __future__ import annotations

from pathlib import Path

from tests.group import run_python

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
    ran = run_python(FAILING_REQUEST, data, WALLET_SANDBOX="1")
    assert ran.returncode == 0, ran.stderr
    assert "request failed" in ran.stderr
    assert "/m/<token>" in ran.stderr
    assert "SELECT nothing FROM nowhere" in ran.stderr
    for secret in (TOKEN, PHONE, (data / "secret-key").read_text().strip()):
        assert secret not in ran.stderr
