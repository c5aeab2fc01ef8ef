"""What `make demo` runs: the main job on a real Airflow, with the embedded sandbox of Scenario."""
