"""Detector back ends: one file a detector, the contract and the table in ``base.py``."""
