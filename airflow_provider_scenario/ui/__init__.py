"""Pages inside Airflow that show what was made at Scenario."""
