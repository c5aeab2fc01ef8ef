"""What Scenario is: its calls, its replies, and the client that carries the calls. Knows nothing of Airflow."""
