"""Apple Wallet: the pass package, its signature, its checks, and the pushes that announce updates."""
