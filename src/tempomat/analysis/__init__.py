"""Questions about a plan before training: what it looks like, what is wrong with it, what given measurements would do."""
