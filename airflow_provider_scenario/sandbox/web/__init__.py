"""The sandbox over HTTP: Scenario's API, its CDN, its upload bucket, and the sandbox's own controls."""
