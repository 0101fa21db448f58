"""The processes that do what a commit left to be done.

``queues`` how RQ is used, as a doorbell and nothing more · ``dispatcher`` reads the outbox and rings ·
``jobs`` what happens when it rings, one handler a topic · ``push``, ``google`` the handlers that talk to the
wallets · ``schedule`` what is due by the clock · ``runtime`` what a process holds · ``__main__`` the command line.
"""
