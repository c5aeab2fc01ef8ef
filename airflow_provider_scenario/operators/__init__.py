"""Operators that buy generations."""
