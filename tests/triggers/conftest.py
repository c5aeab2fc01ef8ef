from tests.sandbox_fixtures import image_id, log, scenario, video_id

__all__ = ["image_id", "log", "scenario", "video_id"]
