"""Many runs, on one machine or many: a grid becomes runs, which are driven to their ends."""
