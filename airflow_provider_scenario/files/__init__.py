"""Bytes in and out: files fetched from Scenario, sent to it, and kept in folders and buckets."""
