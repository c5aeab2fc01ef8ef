"""The studio: pictures and videos drawn with PyAV, knowing nothing of HTTP or of jobs."""
