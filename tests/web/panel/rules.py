"""The rules page of the panel, for tests: its addresses, some rules, and its form as a browser sends it."""

from __future__ import annotations

import re
from typing import Any

from flask.testing import FlaskClient

from tests.factories import program_file
from tests.web.helpers import StoppedClock, submit, text_of
from wallet_server.context import ServerContext
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.programs.file import ProgramFile
from wallet_server.programs.queries import current_file, load_program
from wallet_server.programs.rule import Rule
from wallet_server.programs.services import apply_program

BASE = "/panel/programs/cafe-ohrid/program"
RULES = f"{BASE}/rules"
NEW = f"{RULES}/new"
HTMX = {"HX-Request": "true"}
RULE = f"{RULES}/rule?name="

HAPPY: dict[str, Any] = {
    "name": "Happy hour", "family": "behavior", "when": {"weekdays": ["mon"], "time": {"from": "16:00", "to": "18:00"}},
    "earn": {"multiply": 3}, "outlets": ["A"], "priority": 5,
}  # fmt: skip
OVER = {"name": "Summer", "family": "behavior", "ends_at": "2026-08-31T00:00:00", "earn": {"percent": 4}}
LATER = {"name": "Next year", "family": "customer", "starts_at": "2027-01-01T00:00:00+01:00", "earn": {"multiply": 2},
         "when": {"tiers": ["silver"]}}  # fmt: skip
NO_FOOD = {"name": "No food", "family": "product", "when": {"categories": ["food"]}, "earn": {"none": True},
           "redeem": {"max_percent": 0}}  # fmt: skip
CAPPUCCINO = {
    "name": "Cappuccino hour", "family": "product", "skus": ["cappuccino"], "weekdays": ["mon"], "time_from": "16:00",
    "time_to": "18:00", "earn": "multiply", "earn_value": "2",
}  # fmt: skip
MONDAY = {"ex_outlet": "A", "ex_day": "2026-11-23", "ex_time": "16:30", "ex_sku": ["cappuccino", "burger"],
          "ex_quantity": ["1", "1"]}  # fmt: skip
SEGMENTS = [{"code": "quiet", "name": "Quiet ones", "when": {"days_since_last_visit": {"at_least": 14}}}]


def publish(server: ServerContext, clock: StoppedClock, *rules: dict[str, Any], **sections: Any) -> int:
    """The café with these rules; the number of the version."""
    file = ProgramFile.model_validate(program_file(rules=list(rules), segments=SEGMENTS, **sections))
    with transaction(server.engine, ALL_PROGRAMS) as session:
        return apply_program(session, file, now=clock.now(), actor="cli").version


def rules_of(server: ServerContext) -> list[Rule]:
    with reading(server.engine, ALL_PROGRAMS) as session:
        program = load_program(session, slug="cafe-ohrid")
        return list(current_file(session, program.id).rules)


def versions(server: ServerContext) -> int:
    with reading(server.engine, ALL_PROGRAMS) as session:
        return load_program(session, slug="cafe-ohrid").version


def said(response: Any) -> str:
    return re.sub(r"[\u00a0\u202f]", " ", " ".join(text_of(response).split()))


def send(client: FlaskClient, form: dict[str, Any], url: str = NEW, action: str = "save", **options: Any) -> Any:
    """The form as its page sends it, with the version that the page was opened with."""
    page = client.get(url).get_data(as_text=True)
    found = re.search(r'name="version" value="(\d+)"', page)
    assert found is not None
    return submit(client, url, {"version": found.group(1), **MONDAY, "action": action, **form}, **options)


def fields(page: str) -> dict[str, Any]:
    """What the form on a page would send."""
    form = page[page.index('<form class="rule-form"') : page.index("</form>", page.index('<form class="rule-form"'))]
    values: dict[str, Any] = {}
    for tag in re.findall(r"<input[^>]*>", form):
        name = re.search(r' name="([^"]+)"', tag)
        value = re.search(r' value="([^"]*)"', tag)
        if name is None or (("checkbox" in tag or "radio" in tag) and " checked" not in tag):
            continue
        values.setdefault(name.group(1), []).append(value.group(1) if value else "on")
    for name, text in re.findall(r'<textarea[^>]* name="([^"]+)"[^>]*>([^<]*)</textarea>', form):
        values[name] = [text]
    for name, options in re.findall(r'<select[^>]* name="([^"]+)"[^>]*>(.*?)</select>', form, re.DOTALL):
        chosen = re.search(r'value="([^"]*)" selected', options)
        values.setdefault(name, []).append(chosen.group(1) if chosen else "")
    plain = {name: found[0] if len(found) == 1 else found for name, found in values.items()}
    return {name: value for name, value in plain.items() if name not in ("csrf_token", "version", "action")}
