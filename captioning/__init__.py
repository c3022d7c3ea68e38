"""Data, training and captions: regions and tags in, Chinese sentences out."""
