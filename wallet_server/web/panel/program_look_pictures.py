"""What is uploaded with the designer's form: kept at once, named by the form, and in force with the look."""

from __future__ import annotations

from typing import Final

from flask import Response, abort, request

from passes.artwork.brought import FILE_BYTES_MAX, Slot, photo_thumbnail
from wallet_server.db import reading, transaction
from wallet_server.errors import DomainError
from wallet_server.programs.pictures import add_picture, picture
from wallet_server.web.context import server
from wallet_server.web.panel.blueprint import blueprint
from wallet_server.web.panel.desk import Desk, allowed
from wallet_server.web.panel.program_look_draft import Problem
from wallet_server.web.panel.program_look_form import LookForm
from wallet_server.web.security import BODY_BYTES_MAX
from wallet_server.web.sessions import staff_identity

UPLOAD_BYTES_MAX: Final = BODY_BYTES_MAX + sum(FILE_BYTES_MAX.values())
"""A logo, an icon and a photo at once, each as large as it may be, and all that is typed."""
PHOTO_SECONDS: Final = 24 * 3600


def upload_bytes() -> int:
    """How large the form may be: files are taken from staff alone."""
    return UPLOAD_BYTES_MAX if staff_identity() is not None else BODY_BYTES_MAX


def uploaded(desk: Desk, form: LookForm) -> tuple[LookForm, dict[str, Problem]]:
    """The form with the pictures that came along, kept; or why one of them is not taken."""
    context = server()
    for field in form.uploads:
        file = request.files.get(f"{field}_file")
        if file is None or not file.filename:
            continue
        slot: Slot = "logo" if field == "logo" else "icon" if field == "icon" else "photo"
        data = file.stream.read(FILE_BYTES_MAX[slot] + 1)
        try:
            with transaction(context.engine, desk.program.id) as session:
                sha256 = add_picture(session, desk.program.id, data, slot, now=context.clock.now(), actor=desk.actor)
        except DomainError as refused:
            return form, {field: Problem("file", detail=refused.detail)}
        form = form.with_picture(field, sha256)
    return form, {}


@blueprint.get("/programs/<slug>/program/look/photos/<sha256>.jpg")
@allowed("manager")
def program_look_photo(desk: Desk, sha256: str) -> Response:
    """A photo as it was uploaded, small: where its point is chosen."""
    with reading(server().engine, desk.program.id) as session:
        master = picture(session, desk.program.id, sha256) or abort(404)
    response = Response(photo_thumbnail(master), content_type="image/jpeg")
    response.headers["Cache-Control"] = f"private, max-age={PHOTO_SECONDS}"
    return response
