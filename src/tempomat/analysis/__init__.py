"""Questions about a plan before training: what it looks like, what is wrong with it, what measurements would do."""
