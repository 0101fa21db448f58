"""Google Wallet: loyalty classes and objects, save links, the REST API, and callbacks."""
