"""What Scenario is: its calls, its replies, and two clients that carry the calls. Knows nothing of Airflow."""
