"""An embedded Scenario for development and tests: the same API over HTTP, real videos, and no money.

``python -m airflow_provider_scenario.sandbox`` runs it; ``SandboxServer`` in ``server.py`` runs it from Python.

- ``studio`` draws pictures and videos, and knows nothing of jobs;
- ``backend`` keeps models, jobs, assets, uploads and money, and knows nothing of HTTP;
- ``web`` speaks HTTP: Scenario's API, the CDN, and the sandbox's own controls with faults on order.

Prompts can play scenes, such as a failure or a moderated request: ``backend/scenes.py``.
It shares no code with the provider's client, so that a mistake made there is not made here as well.
"""
