"""What Scenario keeps and decides: models, jobs, assets, uploads and money, knowing nothing of HTTP."""
