"""What is made of records: figures, comparisons."""
