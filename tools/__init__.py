"""What makes the documentation's site, its pages of docstrings, and a release."""
