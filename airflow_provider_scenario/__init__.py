"""Apache Airflow provider for Scenario, the generative video API."""

__version__ = "0.1.0"
