"""Figures of finished runs, and one page that holds them."""
