"""The model zoo: checkpoints by name, and the one way to load them."""
