"""The mini detector and the mini captioner: package data, for non-commercial use (LICENSE in this folder)."""
