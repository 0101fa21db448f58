"""The web as a plain WSGI callable: ``granian --interface wsgi wsgi:application``, or any other WSGI server."""

from wallet_server.app import create_app
from wallet_server.garbage import collect_rarely
from wallet_server.logs import configure_logging
from wallet_server.settings import load_settings

configure_logging()
application = create_app(load_settings())
collect_rarely()
