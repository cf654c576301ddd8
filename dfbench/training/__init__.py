"""Training: any detector's own loop under any strategy."""
