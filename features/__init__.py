"""Pictures in; regions, object tags and a regions file out. Import the file you need: ``features.store``."""
