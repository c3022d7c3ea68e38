"""Chinese names of classes: one TSV file a class list, and glossaries (read by ``features.tags``)."""
