"""``python -m wallet_server``: the same as the ``wallet-server`` command."""

from wallet_server.cli import main

main()
