"""What the programs that train share: command line, settings, how a run goes on and how it ends."""
