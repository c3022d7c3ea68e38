"""Chinese names of object classes, one TSV file a vocabulary (read by ``features.tags``)."""
