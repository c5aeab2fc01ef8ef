"""Sensors that wait for jobs bought elsewhere."""
