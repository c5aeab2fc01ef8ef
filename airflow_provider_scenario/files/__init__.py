"""Files, from and to storages."""
