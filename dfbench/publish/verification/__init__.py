"""Whether a record is true."""
