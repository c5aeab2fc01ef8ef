"""How tasks wait for jobs: one poll of the job list for all who wait."""
