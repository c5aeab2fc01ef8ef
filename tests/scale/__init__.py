"""A studio's night on one machine that stands for many: Celery, two of everything, object storage, and trouble."""
