from tests.quick_scenario import image_id, log, scenario, video_id

__all__ = ["image_id", "log", "scenario", "video_id"]
