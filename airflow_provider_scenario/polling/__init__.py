"""How tasks wait for jobs: one look at the job list for all who wait. Knows no Airflow."""
