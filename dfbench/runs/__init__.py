"""Runs: a detector × preset × strategy × benchmark × seed, from its spec to its record."""
