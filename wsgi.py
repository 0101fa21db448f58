"""The web as a plain WSGI callable: ``granian --interface wsgi wsgi:application``, or any other WSGI server."""

from wallet_server.app import create_app
from wallet_server.settings import load_settings

application = create_app(load_settings())
