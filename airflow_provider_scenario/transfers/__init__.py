"""Files both ways: what Scenario made into folders and buckets, and clips, images and audio to Scenario."""
